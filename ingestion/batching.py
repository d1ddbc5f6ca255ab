"""When to hand a batch over, and how long to wait after a fault: pure decisions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """Batches are small when it is quiet and grow under load.

    Attributes:
        quiet_size: With nothing under way, hand over once this many messages wait.
        quiet_s: … or once the first of them has waited so long.
        most: While batches are under way, gather up to this many messages.
    """

    quiet_size: int
    quiet_s: float
    most: int

    def is_due(self, waiting: int, age_s: float, *, free: bool) -> bool:
        """Say whether what waits is to be handed over now.

        Args:
            waiting: Messages that wait.
            age_s: For how long the first one has.
            free: Whether the next stage takes a batch at once. While it is busy a batch gains
                nothing by leaving: it grows, and makes the next transaction cheaper per message.
        """
        if not waiting or not free:
            return False
        return waiting >= min(self.quiet_size, self.most) or age_s >= self.quiet_s

    def room(self, waiting: int) -> int:
        """Return how many more messages a batch may gather."""
        return max(0, self.most - waiting)

    def patience_s(self, waiting: int, age_s: float, *, longest_s: float = 0.1) -> float:
        """Return how long to wait for more messages before asking `is_due` again."""
        return min(longest_s, max(0.001, self.quiet_s - age_s)) if waiting else longest_s


def backoff_s(attempt: int, *, first_s: float = 0.1, longest_s: float = 5.0) -> float:
    """Return seconds to wait before a new attempt: doubling, bounded.

    Args:
        attempt: Faults in a row; 1 is the first.
        first_s: Wait after the first fault.
        longest_s: No wait is longer, so that a service that is back is found soon.
    """
    return float(min(longest_s, first_s * 2 ** min(attempt - 1, 30)))
