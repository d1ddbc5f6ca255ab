"""What the console says, decided without a database: health, words and pictures."""

import numpy as np
import pytest

from domain import health
from domain.health import Evidence, Health, health_of
from ray_app.console import words
from ray_app.console.timeline import HEIGHT, WIDTH, Axis, Curve, line, thinned
from ray_app.serve import pages
from ray_app.serve.problems import RefusedError


@pytest.mark.parametrize(
    ("score", "silent", "kinds", "wanted"),
    [
        (3.0, False, {"machine", "sensor"}, Health.ANOMALOUS),
        (0.1, True, {"machine"}, Health.ANOMALOUS),
        (0.1, False, {"sensor"}, Health.SENSOR_FAULT),
        (0.1, True, set(), Health.SILENT),
        (None, True, set(), Health.SILENT),
        (None, False, set(), Health.NOT_SCORED),
        (0.8, False, set(), Health.WATCH),
        (1.4, False, set(), Health.WATCH),
        (0.79, False, set(), Health.HEALTHY),
    ],
)
def test_the_most_urgent_truth_is_a_machines_health(
    score: float | None, *, silent: bool, kinds: set[str], wanted: Health
) -> None:
    """An open incident outranks silence, silence outranks an old score."""
    evidence = Evidence(score=score, silent=silent, incident_kinds=frozenset(kinds))

    assert health_of(evidence) is wanted


def test_a_slow_machine_may_be_silent_for_longer() -> None:
    """Patience grows with the period of the class."""
    assert health.patience_s(0.5) == 30.0
    assert health.patience_s(60.0) == 1200.0


def test_every_health_has_a_colour() -> None:
    """No pill of the console is without its class."""
    assert len({words.mark(one) for one in Health}) == len(Health)


def test_thinning_keeps_every_peak() -> None:
    """A spike of one reading in an hour is still seen."""
    at = np.arange(7200, dtype=np.int64)
    values = np.zeros(7200)
    values[[1234, 5000]] = 9.0, -7.0

    _, kept = thinned(at, values)

    assert len(kept) <= 240
    assert (kept.max(), kept.min()) == (9.0, -7.0)


def test_a_missing_sensor_breaks_its_line() -> None:
    """A gap is drawn as one, never bridged."""
    axis = Axis(start_us=0, end_us=4)
    at = np.arange(5, dtype=np.int64)
    drawn = line(axis, "flow", Curve(instants_us=at, observed=np.array([1, 2, np.nan, 2, np.nan])))

    assert drawn.path.count("M") == 2
    assert drawn.last is None


def test_a_sensor_without_any_value_still_has_a_panel() -> None:
    """Nothing to draw is no error."""
    at = np.arange(600, dtype=np.int64)
    empty = Curve(instants_us=at, observed=np.full(600, np.nan))

    assert line(Axis(start_us=0, end_us=600), "flow", empty).path == ""


def test_the_threshold_is_always_inside_the_panel() -> None:
    """A calm machine's line lies visibly below it."""
    calm = Curve(instants_us=np.arange(3, dtype=np.int64), observed=np.array([0.1, 0.2, 0.1]))
    drawn = line(Axis(start_us=0, end_us=2), "score", calm, limit=1.0)

    assert drawn.limit is not None
    assert 0 < drawn.limit < HEIGHT


def test_a_shade_is_cut_at_the_edges() -> None:
    """An incident that began before the picture begins at its edge."""
    axis = Axis(start_us=100, end_us=200)
    shade = axis.shade(0, 150, "machine")

    assert shade is not None
    assert (shade.x, shade.width) == (0.0, WIDTH / 2)
    assert axis.shade(0, 50, "machine") is None


@pytest.mark.parametrize("cursor", ["%", "e30", "é", "====", "WzFd"])
def test_a_strange_cursor_is_refused(cursor: str) -> None:
    """A cursor is opaque; one that is not ours is told so."""
    with pytest.raises(RefusedError, match="cursor"):
        pages.decode(cursor, tuple[str])
