"""A rate for the eye: a count that grows in bursts, averaged over its last seconds."""

from collections import deque

WINDOW_S = 10.0
"""Longer than the longest quiet pause between two commits by default, 5 s."""


class Meter:
    """Averages the growth of a count over a window.

    >>> meter = Meter(now_s=0.0)
    >>> meter.per_second(0, now_s=4.0), meter.per_second(100, now_s=5.0)
    (0.0, 20.0)
    >>> meter.per_second(100, now_s=14.0)
    10.0
    """

    def __init__(self, *, now_s: float, count: int = 0, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque([(now_s, count)])

    def per_second(self, count: int, *, now_s: float) -> float:
        """Return the growth per second over the window, or since the beginning.

        Args:
            count: The count now.
            now_s: Seconds of a monotonic clock.
        """
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - self._window_s:
            self._seen.popleft()
        then_s, before = self._seen[0]
        return (count - before) / max(now_s - then_s, 1e-3)
