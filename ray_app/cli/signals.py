"""How a command that works until it is told ends."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ray_app.signals import handled


@contextmanager
def stopped_by_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the work in good order."""

    def ask(_number: int, _frame: object) -> None:
        stop()

    with handled({signal.SIGINT: ask, signal.SIGTERM: ask}):
        yield
