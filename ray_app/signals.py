"""Signals that end the platform: in good order, and not in the midst of what cannot be left."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, cast

type _Handler = Callable[[int, FrameType | None], object]

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HEARD: Final = b"it ends as soon as this step is over; once more ends it at once\n"


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an orderly end, as Ctrl-C is one already."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """Let the first signal wait until the block is over; the next one ends it at once.

    Ray starts its processes by `fork`. A signal that comes meanwhile is raised in whatever Python
    runs next, which are its own hooks around a fork: what they raise is dropped, and a lock that
    they hold, such as that of `logging`, is never let go. Such a start neither ended nor went on.
    To be called within `ended_by_signals`, whose handlers say what the end is; they are in place
    again afterwards, whatever the block put there.
    """
    before = {number: cast("_Handler", signal.getsignal(number)) for number in _ENDING}
    asked: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if asked:
            asked.clear()
            before[signal.Signals(number)](number, frame)
        asked.append(number)
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _HEARD)  # no buffer, no lock

    for one in _ENDING:
        signal.signal(one, wait)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
        if asked:
            before[signal.Signals(asked[0])](asked[0], None)
