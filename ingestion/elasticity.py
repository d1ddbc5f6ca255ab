"""How many consumers a topic needs now: decided from what waits in Kafka, purely.

Consumers that are busy show what one of them can do; consumers that are idle do not. So a group
grows by what was measured while it was behind, and shrinks only when the fewer ones that stay
would still have room.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    # Only its shape matters here; the module itself brings the client of Kafka along.
    from ingestion.gaps import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Between how many consumers a group may be, both included.

    Attributes:
        least: At work even when nothing waits.
        most: Never more; at least `least`.
    """

    least: int
    most: int

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise ValueError(f"0 <= least <= most does not hold: {self.least}, {self.most}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When a group grows and shrinks.

    Attributes:
        few: Messages that may always wait: what a quiet group gathers between two commits.
        behind_s: A group that would work longer than this on what waits is behind.
        catch_up_s: In so many seconds a group that is behind should have caught up.
        settle_s: After a change nothing is changed for this long, since members that join stop
            each other for a moment and a new one needs some seconds to start.
        calm_s: A group shrinks after it had caught up for this long without a break.
        headroom: Share of what the remaining consumers can do that arrivals may take; in (0, 1).
    """

    few: int = 5000
    behind_s: float = 5.0
    catch_up_s: float = 30.0
    settle_s: float = 15.0
    calm_s: float = 60.0
    headroom: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of a group at one moment.

    Attributes:
        lag: Messages that wait.
        arriving_per_s: Messages that came to Kafka, per second of late.
        taken_per_s: Messages that the group stored, per second of late.
        each_per_s: What one consumer did when the group was last behind; 0 where unknown.
        partitions: Of the topic; more consumers than this would stand idle.
        present: Consumers at work, without those on their way out.
        calm_s: Seconds since more than a few messages waited.
        since_change_s: Seconds since a consumer was added or sent home.
    """

    lag: int
    arriving_per_s: float
    taken_per_s: float
    each_per_s: float
    partitions: int
    present: int
    calm_s: float
    since_change_s: float


def wanted(now: Situation, bounds: Bounds, rules: Rules) -> int:
    """Return how many consumers there should be.

    The bounds hold at once, all else waits until the last change has settled. A group without
    consumers gets one as soon as anything waits. A group that is behind and stores nothing is left
    as it is: what is wrong there is not a want of hands.
    """
    most = max(bounds.least, min(bounds.most, now.partitions))
    inside = min(max(now.present, bounds.least), most)
    if inside != now.present:
        return inside
    if now.present == 0:
        return min(1, most) if now.lag > 0 else 0
    if now.since_change_s < rules.settle_s:
        return now.present
    if is_behind(now, rules):
        return min(_enough(now, rules), most)
    if now.calm_s >= rules.calm_s and now.present > bounds.least and _can_spare_one(now, rules):
        return now.present - 1
    return now.present


def is_behind(now: Situation, rules: Rules) -> bool:
    """Return whether more waits than the group stores in `behind_s`."""
    return now.lag > rules.few and now.lag > rules.behind_s * now.taken_per_s


def _enough(now: Situation, rules: Rules) -> int:
    """Return how many would catch up in time; at most twice as many, at least those present."""
    if now.taken_per_s <= 0:
        return now.present
    each = now.taken_per_s / now.present
    # Bounded before it is rounded: a group that all but stands still would need infinitely many.
    needed = min((now.arriving_per_s + now.lag / rules.catch_up_s) / each, 2.0 * now.present)
    return max(ceil(needed), now.present)


def _can_spare_one(now: Situation, rules: Rules) -> bool:
    if now.present == 1:
        return now.lag == 0 and now.arriving_per_s == 0
    return now.arriving_per_s <= rules.headroom * now.each_per_s * (now.present - 1)


@dataclass(frozen=True, slots=True)
class _Look:
    at_s: float
    ends: int
    taken: int


class Tide:
    """Makes a situation of successive looks at a group; for one thread.

    Args:
        rules: What counts as behind and as calm.
        now_s: The present; monotonic seconds.
    """

    def __init__(self, rules: Rules, now_s: float) -> None:
        self._rules = rules
        self._looks: deque[_Look] = deque()
        self._each_per_s = 0.0
        self._calm_since_s = self._changed_s = now_s

    def look(self, standings: "Sequence[Standing]", *, present: int, now_s: float) -> Situation:
        """Return the situation after one more look.

        Args:
            standings: Of every partition.
            present: Consumers at work.
            now_s: The present; monotonic seconds, never less than before.
        """
        ends = sum(one.end for one in standings)
        # What was stored after Kafka was asked for its ends is no negative lag.
        lag = sum(max(0, one.lag) for one in standings)
        look = _Look(now_s, ends, ends - lag)
        self._looks.append(look)
        while len(self._looks) > 2 and now_s - self._looks[1].at_s >= self._rules.behind_s:
            self._looks.popleft()
        if lag > self._rules.few:
            self._calm_since_s = now_s
        first, seconds = self._looks[0], now_s - self._looks[0].at_s
        situation = Situation(
            lag=lag,
            arriving_per_s=_rate(look.ends - first.ends, seconds),
            taken_per_s=_rate(look.taken - first.taken, seconds),
            each_per_s=self._each_per_s,
            partitions=len(standings),
            present=present,
            calm_s=now_s - self._calm_since_s,
            since_change_s=now_s - self._changed_s,
        )
        self._learn(situation)
        return situation

    def changed(self, now_s: float) -> None:
        """Note that consumers were added or sent home: rates before that say nothing now."""
        self._changed_s = now_s
        self._looks.clear()

    def _learn(self, now: Situation) -> None:
        """Remember what one consumer can do, where it can be seen."""
        settled = now.since_change_s >= self._rules.settle_s
        if settled and now.present and now.taken_per_s > 0 and is_behind(now, self._rules):
            self._each_per_s = now.taken_per_s / now.present


def _rate(count: int, seconds: float) -> float:
    # A topic that was made anew begins at zero again.
    return max(0.0, count / seconds) if seconds > 0 else 0.0
