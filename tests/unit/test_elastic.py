"""The loop that lets hands do what the policy wants; clock, hands and faults are the test's."""

from collections.abc import Sequence

import pytest

from domain.errors import ServiceUnavailableError
from ingestion.elasticity import Bounds, Rules
from ingestion.gaps import Standing
from observability.metric import Metric, NoMetrics
from ray_app.elastic import Elastic
from tests.ingest_support import until


class Site:
    """A topic, a clock and consumers that are only counted."""

    def __init__(self, count: int) -> None:
        self.count, self.now_s, self.said = count, 0.0, list[str]()
        self.taken, self.end, self.away = 0, 0, False
        self.looks = 0

    def look(self) -> Sequence[Standing]:
        """Return four partitions, of which one is in use."""
        self.looks += 1
        if self.away:
            raise ServiceUnavailableError("Kafka", "it does not answer")
        used = Standing(partition=0, next=self.taken, earliest=0, end=self.end)
        return [used, *(Standing(partition=p, next=0, earliest=0, end=0) for p in (1, 2, 3))]

    def present(self) -> int:
        """Return how many are at work."""
        return self.count

    def add(self) -> None:
        """Add one."""
        self.count += 1

    def retire(self) -> None:
        """Send one home."""
        self.count -= 1


class Gauges(NoMetrics):
    """Keeps the last value of each gauge."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, ...], float] = {}

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Check the labels and keep the value."""
        super().set(metric, value, **labels)
        self.last[metric.name, *labels.values()] = value


RULES = Rules(few=1000, behind_s=5.0, catch_up_s=30.0, settle_s=10.0, calm_s=60.0)


def elastic(site: Site, gauges: Gauges | None = None, *, least: int = 1) -> Elastic:
    """Return the loop over a site."""
    return Elastic(
        site.look,
        site,
        Bounds(least=least, most=4),
        gauges or Gauges(),
        rules=RULES,
        say=site.said.append,
        every_s=0.01,
        clock=lambda: site.now_s,
    )


def test_a_backlog_grows_the_group_and_quiet_shrinks_it_step_by_step() -> None:
    """Each change is said, with what waited, and is given its time."""
    site, gauges = Site(1), Gauges()
    loop = elastic(site, gauges)
    site.end = 200_000
    while site.taken < site.end:
        site.now_s += 2
        site.taken = min(site.end, site.taken + 2000 * site.count)
        loop.step()
    grown = site.count
    while site.now_s < 1000:
        site.now_s += 2
        loop.step()

    assert (grown, site.count) == (4, 1)
    steps = [line.split(",")[0] for line in site.said]
    assert steps == [
        "consumers: 1 → 2",
        "consumers: 2 → 4",
        "consumers: 4 → 3",
        "consumers: 3 → 2",
        "consumers: 2 → 1",
    ]
    assert gauges.last["millwright_consumers", "wanted"] == 1
    assert gauges.last["millwright_consumers", "present"] == 1


def test_lag_is_told_by_whoever_knows_it() -> None:
    """Without a consumer by the loop; with one by the consumer, and not twice."""
    site, gauges = Site(0), Gauges()
    site.end = 7
    loop = elastic(site, gauges, least=0)

    loop.step()
    lag = ("millwright_consumer_lag", "ingest")
    assert (gauges.last[lag], site.count) == (7, 1)
    loop.step()
    assert gauges.last[lag] == 0
    gauges.last.clear()
    loop.step()
    assert lag not in gauges.last


def test_while_a_service_is_away_nothing_changes_and_later_it_does() -> None:
    """A look that fails is told and repeated."""
    site = Site(1)
    site.away = True
    loop = elastic(site, least=2)
    with pytest.raises(ServiceUnavailableError):
        loop.step()

    loop.start()
    until(lambda: site.looks > 3)
    assert site.count == 1
    site.away = False
    until(lambda: site.count == 2)
    loop.stop()
    looks = site.looks
    loop.stop()

    assert site.looks == looks
