"""The roster: who is known, and which class a stranger belongs to."""

import pytest

from domain.errors import BadInputError
from domain.machines import Machine, MachineClass, Sensor
from domain.roster import Roster


def _class(name: str, *sensors: str) -> MachineClass:
    return MachineClass(name=name, sensors=tuple(Sensor(name=each) for each in sensors))


PUMP, FAN = _class("pump", "flow", "heat"), _class("fan", "speed")


def test_a_roster_is_replaced_and_never_changed() -> None:
    """Adding gives a new roster; whoever holds the old one sees no change."""
    empty = Roster.of([PUMP])
    one = empty.with_machines([Machine(key=7, name="a", machine_class="pump")])
    both = one.with_class(FAN).with_machines([Machine(key=8, name="b", machine_class="fan")])

    assert not empty.machines
    assert tuple(one.machines) == ("a",)
    assert both.class_of(both.machines["b"]) is FAN
    assert both.by_key[7].name == "a"


def test_a_class_is_matched_by_exactly_its_sensors() -> None:
    """Order does not matter; one sensor more or less does."""
    roster = Roster.of([PUMP, FAN])

    assert roster.match_class(["heat", "flow"]) is PUMP
    assert roster.match_class(["flow"]) is None
    assert roster.match_class(["flow", "heat", "speed"]) is None


def test_two_classes_with_the_same_sensors_match_nobody() -> None:
    """Nobody can say which was meant."""
    assert Roster.of([PUMP, _class("twin", "heat", "flow")]).match_class(["flow", "heat"]) is None


def test_a_machine_of_an_unknown_class_is_refused() -> None:
    """The message names the class and the machine."""
    with pytest.raises(BadInputError, match="machine a: class 'lift' is not registered"):
        Roster.of([PUMP]).with_machines([Machine(key=1, name="a", machine_class="lift")])
