"""Alarms held against the truth."""

from domain.accounting import Alarm, Fault, settle

S = 1_000_000


def _fault(onset_s: int, end_s: int | None, machine: str = "a") -> Fault:
    end_us = None if end_s is None else end_s * S
    return Fault(machine=machine, kind="overheating", onset_us=onset_s * S, end_us=end_us)


def _alarm(raised_s: int, cleared_s: int | None = None, machine: str = "a") -> Alarm:
    cleared_us = None if cleared_s is None else cleared_s * S
    return Alarm(machine=machine, raised_us=raised_s * S, cleared_us=cleared_us)


def test_the_first_alarm_during_a_fault_is_its_delay() -> None:
    """Later alarms and other machines' alarms do not count."""
    account = settle(
        [_fault(100, 200)],
        [_alarm(150), _alarm(130, 140), _alarm(110, machine="b")],
        machines=2,
        watched_us=43_200 * S,
        grace_us=60 * S,
    )

    assert account.delays_us == (30 * S,)
    assert account.detected == 1
    assert account.median_delay_s == 30.0
    assert account.false_alarms == 1
    assert account.false_alarms_per_machine_day == 1.0


def test_an_alarm_that_stood_before_the_onset_is_false_and_has_no_delay() -> None:
    """It was right by chance: the fault counts as seen, the alarm as false."""
    account = settle(
        [_fault(100, 200)], [_alarm(50)], machines=1, watched_us=86_400 * S, grace_us=0
    )

    assert account.delays_us == (0,)
    assert account.false_alarms == 1


def test_an_alarm_cleared_before_the_onset_catches_nothing() -> None:
    """A closed alarm says nothing about a later fault."""
    account = settle([_fault(100, 200)], [_alarm(50, 90)], machines=1, watched_us=S, grace_us=0)

    assert account.delays_us == (None,)
    assert account.detected == 0
    assert account.median_delay_s is None


def test_the_grace_covers_recovery_and_not_more() -> None:
    """Just after a fault the machine is still on its way back."""
    faults = [_fault(100, 200)]
    inside = settle(faults, [_alarm(259)], machines=1, watched_us=S, grace_us=60 * S)
    outside = settle(faults, [_alarm(261)], machines=1, watched_us=S, grace_us=60 * S)

    assert (inside.false_alarms, outside.false_alarms) == (0, 1)
    assert inside.detected == outside.detected == 0


def test_a_fault_that_lasts_takes_every_later_alarm() -> None:
    """An open end means that the machine is still going wrong."""
    account = settle([_fault(100, None)], [_alarm(9_999)], machines=1, watched_us=S, grace_us=0)

    assert account.detected == 1
    assert account.false_alarms == 0


def test_nothing_watched_is_no_rate() -> None:
    """Without a period there is no rate to speak of, and no division by zero."""
    account = settle([], [], machines=0, watched_us=0, grace_us=0)

    assert account.false_alarms_per_machine_day == 0.0
