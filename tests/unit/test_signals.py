"""A signal ends the platform in good order, and not in the midst of what cannot be left."""

import os
import signal

import pytest

from ray_app.signals import ended_by_signals, held_back


def _send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (signal.SIGINT, KeyboardInterrupt),
        (signal.SIGTERM, SystemExit),
        (signal.SIGHUP, SystemExit),
    ],
)
def test_a_signal_waits_until_the_step_is_over(
    number: signal.Signals, end: type[BaseException]
) -> None:
    """Then it is what it would have been."""
    done = False
    with ended_by_signals(), pytest.raises(end) as caught, held_back():  # noqa: PT012 - the point
        _send(number)
        done = True

    assert done
    assert not isinstance(caught.value, SystemExit) or caught.value.code == 128 + number


def test_who_cannot_wait_signals_again() -> None:
    """The second one ends the step where it is."""
    done = False
    with ended_by_signals(), pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012 - the point
        _send(signal.SIGTERM)
        _send(signal.SIGINT)
        done = True

    assert not done


def test_without_a_signal_the_handlers_are_as_before() -> None:
    """Also where the step failed."""
    before = signal.getsignal(signal.SIGINT)
    with ended_by_signals():
        ours = signal.getsignal(signal.SIGTERM)
        with pytest.raises(ValueError, match="late"), held_back():
            raise ValueError("late")
        assert signal.getsignal(signal.SIGTERM) is ours

    assert signal.getsignal(signal.SIGINT) is before
