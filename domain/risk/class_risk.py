"""What a machine class has taught about its failures: risk, remaining life, trend and modes.

One package beside the champion's, in the same format: npz and JSON, no pickle, verified by checksum
and by what it says of a golden stretch of steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from domain.errors import BadInputError, ModelRejectedError, PlatformError
from domain.failure_modes import Modes
from domain.machines import MachineClass
from domain.package import check_golden, read_package, take_prefix, with_prefix, write_package
from domain.readings import History, Matrix
from domain.risk.learning import healthy_part, horizons, lives_of_class, models_of, samples_of
from domain.risk.model import RiskModel
from domain.risk.outlook import Failure, HorizonRisk, Remaining
from domain.risk.steps import LEAST_STEPS, LOOK_BACK, Event, gridded, step_us
from domain.risk.trend import HealthTrend
from domain.wire import format_instant

_SIGNIFICANT: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassRisk:
    """The fitted risk of one machine class.

    Attributes:
        machine_class: Its name.
        sensors: Names of the columns.
        period_s: Seconds between two readings.
        models: Horizon's name → model; empty without a history of failures.
        lacking: Horizon's name → why it has no model.
        trend: Health and where it ends.
        modes: Failure modes.
        golden: Steps whose outlook travels with the package, shape (n, S).
        facts: For people: lives, failures, period.
        version: Number it is stored under; 0 before that.
    """

    machine_class: str
    sensors: tuple[str, ...]
    period_s: float
    models: Mapping[str, RiskModel]
    lacking: Mapping[str, str]
    trend: HealthTrend
    modes: Modes
    golden: Matrix
    facts: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0

    @property
    def step_us(self) -> int:
        """Length of a step, microseconds."""
        return step_us(self.period_s)

    @classmethod
    def fit(
        cls,
        machine_class: MachineClass,
        histories: Sequence[History],
        events: Sequence[Event],
        *,
        seed: int,
        words: Mapping[str, Sequence[int]] | None = None,
    ) -> Self:
        """Learn from the steps of machines and the failures that are known.

        Args:
            machine_class: Of all of them.
            histories: Steps (`steps_of`), one history per machine.
            events: Failures of those machines; may be none.
            seed: Decides which machines are held out together.
            words: Machine → when somebody repaired it, ascending microseconds UTC; each begins
                another life, as it does for the outlook.

        Raises:
            BadInputError: There is no life of at least `LEAST_STEPS` steps.
        """
        length, said = step_us(machine_class.period_s), words or {}
        lives = lives_of_class(histories, events, length, said)
        if not lives:
            raise BadInputError(
                f"no machine has {LEAST_STEPS} steps of history; risk looks at steps of "
                f"{length / 1e6:g} s",
                f"class {machine_class.name}",
                "Let the machines run longer, or bring a history with `millwright replay FILE`",
            )
        healthy = [one for one in (healthy_part(life) for life in lives) if len(one)]
        models, lacking = models_of(machine_class.period_s, lives, seed)
        return cls(
            machine_class=machine_class.name,
            sensors=machine_class.sensor_names,
            period_s=machine_class.period_s,
            models=models,
            lacking=lacking,
            trend=HealthTrend.fit(healthy),
            modes=Modes.fit(
                samples_of(histories, events, length, said), healthy, machine_class.sensor_names
            ),
            golden=max(lives, key=lambda one: len(one.values)).values[-LOOK_BACK:],
            facts={
                "lives": len(lives),
                "failures": sum(life.failed for life in lives),
                "machines": len({life.machine for life in lives}),
                "steps": sum(len(life.values) for life in lives),
                "horizons": sorted(models),
            },
        )

    def outlook(self, begins_us: npt.NDArray[np.int64], values: Matrix) -> Failure:
        """Return what the steps so far promise.

        Args:
            begins_us: Shape (n,), beginnings of whole steps, ascending; holes are allowed.
            values: Shape (n, S), their means.
        """
        begins_us, values = gridded(begins_us, values, self.step_us)
        begins_us, values = begins_us[-LOOK_BACK:], values[-LOOK_BACK:]
        if len(values) < LEAST_STEPS:
            return Failure(
                reason=f"{len(values)} whole steps of {self.step_us / 1e6:g} s are known of it "
                f"without a long gap; risk needs {LEAST_STEPS}",
                risk_version=self.version,
            )
        remaining = self._remaining(values)
        status = "known" if self.models else "trend"
        if not self.models and remaining.kind == "unknown":
            status = "unknown"
        shortest = next(iter(horizons(self.period_s)))
        reason = "" if self.models else self.lacking.get(shortest, "")
        return Failure(
            status=status,  # type: ignore[arg-type]  # one of the three
            reason=reason if status != "unknown" else f"{reason}; {remaining.reason}",
            horizons=[self._risk(name, values) for name in horizons(self.period_s)],
            remaining=remaining,
            mode=self.modes.nearest(values),
            as_of=format_instant(int(begins_us[-1]) + self.step_us),
            risk_version=self.version,
        )

    def numbered(self, version: int) -> Self:
        """Return the same under a version."""
        return replace(self, version=version)

    def _risk(self, name: str, values: Matrix) -> HorizonRisk:
        seconds = horizons(self.period_s)[name]
        model = self.models.get(name)
        if model is None:
            return HorizonRisk(
                horizon=name, horizon_s=seconds, kind="unknown", reason=self.lacking.get(name, "")
            )
        told = model.forecast(values)
        last = (float(column[-1]) for column in (told.p, told.p_low, told.p_high))
        p, low, high = (round(one, _SIGNIFICANT) for one in last)
        return HorizonRisk(
            horizon=name, horizon_s=seconds, kind="probability", p=p, interval=(low, high)
        )

    def _remaining(self, values: Matrix) -> Remaining:
        step_s = self.step_us / 1e6
        if not self.models:
            return self.trend.remaining(values, step_s)
        model = max(self.models.values(), key=lambda one: one.horizon)
        told = model.forecast(values)
        high = float(told.remaining_high[-1])
        return Remaining(
            kind="conformal",
            seconds=round(float(told.remaining[-1]) * step_s, 3),
            interval=(
                round(float(told.remaining_low[-1]) * step_s, 3),
                # The model tells lives apart up to its cap only: beyond that the end is open.
                None if high >= model.cap else round(high * step_s, 3),
            ),
        )

    def to_package(self) -> bytes:
        """Return the model as one blob without pickles."""
        names = sorted(self.models)
        manifest = {
            "risk": self.machine_class,
            "sensors": self.sensors,
            "period_s": self.period_s,
            "models": [
                {"name": name, "horizon": one.horizon, "cap": one.cap, "look_back": one.look_back}
                for name in names
                for one in (self.models[name],)
            ],
            "lacking": dict(self.lacking),
            "modes": self.modes.to_json(),
            "facts": dict(self.facts),
        }
        arrays = {
            **with_prefix(self.trend.to_arrays(), "trend"),
            **with_prefix(self.modes.to_arrays(), "modes"),
            "golden.values": self.golden,
            "golden.told": self._golden(),
        }
        for at, name in enumerate(names):
            arrays |= with_prefix(self.models[name].arrays, f"model{at}")
        return write_package(manifest, arrays)

    @classmethod
    def from_package(cls, blob: bytes, name: str = "risk package") -> Self:
        """Restore and verify what `to_package` gave.

        Raises:
            ModelRejectedError: Checksum, schema or golden outlook do not hold.
        """
        manifest, arrays = read_package(blob, name)
        try:
            made = cls(
                machine_class=manifest["risk"],
                sensors=tuple(manifest["sensors"]),
                period_s=float(manifest["period_s"]),
                models={
                    one["name"]: RiskModel(
                        horizon=one["horizon"],
                        cap=one["cap"],
                        look_back=one["look_back"],
                        arrays=take_prefix(arrays, f"model{at}"),
                    )
                    for at, one in enumerate(manifest["models"])
                },
                lacking=manifest["lacking"],
                trend=HealthTrend.from_arrays(take_prefix(arrays, "trend")),
                modes=Modes.restore(manifest["modes"], take_prefix(arrays, "modes")),
                golden=arrays["golden.values"],
                facts=manifest["facts"],
            )
            told, wanted = made._golden(), arrays["golden.told"]
        except (KeyError, ValueError, TypeError, IndexError, PlatformError) as error:
            raise ModelRejectedError(name, f"its parts do not fit: {error!r}") from error
        check_golden(told, wanted, name, "its golden forecasts")
        return made

    def _golden(self) -> npt.NDArray[np.float64]:
        told = [self.trend.departure(self.golden)]
        for name in sorted(self.models):
            forecast = self.models[name].forecast(self.golden)
            told += [forecast.p, forecast.remaining]
        return np.concatenate(told)
