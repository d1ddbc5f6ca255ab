"""Signals that end the platform: in good order, and not in the midst of what cannot be left."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Final, cast

type Handler = Callable[[int, FrameType | None], object]

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HEARD: Final = b"it ends as soon as this step is over; once more ends it at once\n"
_STDERR: Final = 2


@contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """Handle signals within the block, and as before after it, whatever the block put there."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an orderly end, as Ctrl-C is one already."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    orderly = {signal.SIGTERM: leave, signal.SIGHUP: leave}
    with handled({**orderly, signal.SIGINT: signal.default_int_handler}):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Let the first signal wait until the block is over; the next one ends it at once.

    Ray starts its processes by `fork`. A signal that comes meanwhile is raised in whatever Python
    runs next, which are its own hooks around a fork: what they raise is dropped, and a lock that
    they hold, such as that of `logging`, is never let go. Such a start neither ended nor went on.
    To be called within `ended_by_signals`, whose handlers say what the end is; they are in place
    again afterwards, whatever the block put there.
    """
    before = {number: cast("Handler", signal.getsignal(number)) for number in _ENDING}
    asked: list[int] = []

    def wait(number: int, frame: FrameType | None) -> None:
        if asked:
            asked.clear()
            before[signal.Signals(number)](number, frame)
        asked.append(number)
        os.write(_STDERR, _HEARD)  # takes no lock that the interrupted step may hold

    try:
        with handled(dict.fromkeys(_ENDING, wait)):
            yield
    finally:
        if asked:
            before[signal.Signals(asked[0])](asked[0], None)
