"""Small healthy machines for the tests of the learning core: seeded, pure, quick."""

import numpy as np

from domain.machines import MachineClass, Sensor
from domain.readings import History, Matrix

START_US = 1_700_000_000_000_000
PERIOD_S = 1.0


def machine_class(sensors: int = 4) -> MachineClass:
    """Return a class whose sensors are named s0, s1, ..."""
    return MachineClass(
        name="toy",
        sensors=tuple(Sensor(name=f"s{at}", low=-1e6, high=1e6) for at in range(sensors)),
        period_s=PERIOD_S,
    )


def healthy(
    seed: int, *, rows: int = 900, sensors: int = 4, regimes: bool = False, level: float = 10.0
) -> History:
    """Return a machine with correlated noise that remembers; on wish it idles now and then."""
    rng = np.random.default_rng(seed)
    noise = np.empty((rows, sensors))
    drawn = rng.normal(size=(rows, sensors)) + 0.5 * rng.normal(size=(rows, 1))
    noise[0] = drawn[0]
    for row in range(1, rows):
        noise[row] = 0.8 * noise[row - 1] + 0.6 * drawn[row]
    values = level + rng.normal(size=sensors) + noise
    if regimes:
        values[:, : sensors // 2] += 40.0 * ((np.arange(rows) // 90) % 2)[:, None]
    return history(f"m{seed}", values)


def history(machine: str, values: Matrix) -> History:
    """Return readings one period apart."""
    instants = START_US + np.arange(len(values)) * round(PERIOD_S * 1e6)
    return History(machine=machine, instants_us=instants.astype(np.int64), values=values)
