"""Machine classes as declarative files."""

import re
from pathlib import Path

import numpy as np
import pytest

from domain.class_files import load_class, shipped_classes
from domain.errors import BadInputError, NotFoundError
from domain.simulation import Fleet

_SIX = {"bearing_wear", "overheating", "cavitation", "imbalance", "sensor_stuck", "sensor_dropout"}
_GUIDE = Path(__file__).parents[2] / "docs" / "development.md"

SMALL = """
name = "lift"
[[sensors]]
name = "load"
level = 5
sd = 1
[[sensors]]
name = "heat"
level = 20
sd = 0.5
[[correlations]]
between = ["load", "heat"]
r = 0.5
[failures.jam.effects]
heat = { shift = 4, factor = 1.2, noise = 3 }
[failures.mute]
kind = "dropout"
sensors = ["heat"]
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "lift.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("name", shipped_classes())
def test_a_shipped_class_can_be_simulated_and_fail_in_six_ways(name: str) -> None:
    """Each comes with the six failure modes, and every value lies within its sensor's range."""
    file = load_class(name)
    fleet = Fleet.create(file, ["m"], start_us=0)

    (chunk,) = fleet.advance(60_000_000)

    assert set(file.spec.failures) >= _SIX
    assert file.machine_class.name == name
    low, high = np.array([(each.low, each.high) for each in file.machine_class.sensors]).T
    assert ((chunk.values >= low) & (chunk.values <= high)).all()


def test_two_classes_are_shipped_and_the_pump_has_twenty_sensors() -> None:
    """What the settings' defaults count on."""
    assert {"fan", "pump"} <= set(shipped_classes())
    assert len(load_class("pump").machine_class.sensors) == 20


def test_fewer_sensors_are_the_first_ones_with_what_still_concerns_them() -> None:
    """A failure mode without any sensor left goes; the name carries the count."""
    pump = load_class("pump").with_sensors(3)

    assert pump.machine_class.name == "pump-3"
    assert pump.machine_class.sensor_names == ("vibration_de", "vibration_nde", "motor_current")
    assert set(pump.spec.failures["overheating"].effects) == {"motor_current"}
    assert len(pump.spec.correlations) == 1
    assert load_class("pump").with_sensors(20) is not None


def test_a_class_without_regimes_is_always_under_load(tmp_path: Path) -> None:
    """The shortest class file that can be: its level stays where it is, for days."""
    file = load_class(_file(tmp_path, SMALL))
    fleet = Fleet.create(file, ["m"], start_us=0, period_s=60.0)

    (chunk,) = fleet.advance(3 * 86_400_000_000)

    assert tuple(file.spec.regimes) == ("load",)
    assert abs(np.median(chunk.values[:, 0]) - 5) < 2


def test_a_mode_that_lost_its_sensors_is_gone(tmp_path: Path) -> None:
    """Nothing could show it."""
    lift = load_class(_file(tmp_path, SMALL)).with_sensors(1)

    assert not lift.spec.failures


def test_more_sensors_are_probes_beside_the_first() -> None:
    """Their noise follows the sensor they stand beside, and failures reach them by half."""
    pump = load_class("pump").with_sensors(41)
    fleet = Fleet.create(pump, ["m"], start_us=0, gap_rate=0)
    names = pump.machine_class.sensor_names

    (chunk,) = fleet.advance(400_000_000)

    assert (names[20], names[40]) == ("vibration_de.2", "vibration_de.3")
    assert pump.spec.failures["imbalance"].effects["vibration_de.2"].shift == 4
    voltage, beside = np.diff(chunk.values[:, [3, 23]], axis=0).T
    assert np.cov(voltage, beside)[0, 1] / (voltage.std() * beside.std()) > 0.4


@pytest.mark.parametrize("count", [0, 1001])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    """With the range."""
    with pytest.raises(BadInputError, match="1 to 1000 are allowed"):
        load_class("pump").with_sensors(count)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("level = 5", "levl = 5", r"unknown field `levl` - at `\$.sensors\[0\]`.*a sensor takes"),
        ("level = 5", "", r"missing required field `level` - at `\$.sensors\[0\]`"),
        ("sd = 1", "sd = 0", r"sd is 0.0, allowed is > 0 - at `\$.sensors\[0\]`"),
        ("sd = 1", "sd = 1\ndrift = -1", "drift is -1.0, allowed is >= 0"),
        ("sd = 1", "sd = 1\nwhite = 2", "white is 2.0, allowed is 0 to 1"),
        ("sd = 1", "sd = 1\nlow = 9", "level 5.0 is not within low 9.0"),
        ("sd = 1", "sd = 1\nregimes = { rest = 1 }", "names rest; allowed are load"),
        ("r = 0.5", "r = 1", "r is 1.0, allowed is -1 < r < 1"),
        ('"load", "heat"]', '"load", "hat"]', "names hat; allowed are heat, load"),
        ("heat = {", "hat = {", r"failures.jam.effects names hat; allowed are heat, load"),
        ("shift = 4", "shift = inf", "shift and factor must be finite"),
        ("[failures.jam.effects]", "[failures.jam]\n[failures.x.effects]", "do not go together"),
        ('sensors = ["heat"]', 'sensors = ["hat"]', "names hat; allowed are heat, load"),
        ('kind = "dropout"', 'kind = "lost"', "Invalid enum value 'lost'"),
        ('name = "lift"', 'name = "lift"\nregimes = {}', "regimes is empty"),
        ('name = "heat"', 'name = "load"', "sensors named twice: load|names heat"),
        ('name = "lift"', 'name = "a lift"', "'a lift' cannot name a machine class"),
        ('name = "lift"', "name = ", "it is not TOML"),
    ],
)
def test_a_wrong_key_is_named_with_what_is_allowed(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    """The message begins with the file."""
    path = _file(tmp_path, SMALL.replace(old, new, 1))

    with pytest.raises(BadInputError, match=words) as caught:
        load_class(path)

    assert str(caught.value).startswith(str(path))


def test_a_missing_class_and_a_binary_file_are_told(tmp_path: Path) -> None:
    """With the names that exist."""
    with pytest.raises(NotFoundError, match="one of fan, pump"):
        load_class("pimp")
    (tmp_path / "x.toml").write_bytes(b"\xff")
    with pytest.raises(BadInputError, match="not UTF-8"):
        load_class(tmp_path / "x.toml")


def test_the_guides_examples_run(tmp_path: Path) -> None:
    """Sensor and failure mode of docs/development.md, added to the pump, simulate and show."""
    guide = _GUIDE.read_text("utf-8")
    sensor, failure = re.findall(r"<!-- example: \w+ -->\n```toml\n(.*?)```", guide, re.DOTALL)
    pump = Path(load_class.__code__.co_filename).parent / "classes" / "pump.toml"
    file = load_class(_file(tmp_path, pump.read_text("utf-8") + sensor + failure))
    fleet = Fleet.create(file, ["pump-1"], start_us=0)
    told = fleet.inject("pump-1", "belt_slip", onset_us=300_000_000)

    (chunk,) = fleet.advance(600_000_000)

    hot = chunk.values[:, file.machine_class.position["coupling_temperature"]]
    assert told.sensors == ("shaft_speed", "coupling_temperature", "motor_power")
    assert hot[-100:].mean() - hot[500:600].mean() > 0.5
    assert fleet.truth() == (told,)
