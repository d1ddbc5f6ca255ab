"""What feedback, maintenance and a short history make of scores, and what webhooks are sent."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.care import NO_CARE, WIDEST, Care, Window, adjusted, is_cold, notes, own_history_s
from domain.errors import BadInputError
from domain.limits import HIGHEST, LOWEST, Opinion, factors_of
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.severity import Severity, severity_of
from domain.similar import most_similar
from domain.webhooks import Format, body_of, checked_secret, checked_url, next_pause_s, signature
from tests.unit.learning_samples import START_US, healthy, machine_class


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Return a model that knows m1 and m2."""
    spec = PipelineSpec(detector="pca", features="gated", window_s=20.0, regimes=1)
    return Pipeline.fit(spec, [healthy(1), healthy(2)], machine_class(), seed=0)


def test_a_false_alarm_makes_its_sensors_less_sensitive_and_a_true_one_more() -> None:
    """In proportion to their part in it; maintenance says nothing of limits."""
    shares = {"s0": 0.8, "s1": 0.2}

    wide = factors_of([Opinion(feedback="false", shares=shares)])
    tight = factors_of([Opinion(feedback="true", shares=shares)])

    assert LOWEST < wide["s0"] < wide["s1"] < 1 < tight["s1"] < tight["s0"] < HIGHEST
    assert factors_of([Opinion(feedback="maintenance", shares=shares)]) == {}


@given(
    said=st.lists(
        st.tuples(st.sampled_from(["true", "false", "maintenance"]), st.floats(0, 1)), max_size=40
    )
)
def test_no_amount_of_feedback_leaves_the_bounds(said: list[tuple[str, float]]) -> None:
    """However often people say the same."""
    opinions = [Opinion(feedback=word, shares={"s0": share}) for word, share in said]  # type: ignore[arg-type]

    assert all(LOWEST <= factor <= HIGHEST for factor in factors_of(opinions).values())


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 300), seed=st.integers(0, 5), factor=st.floats(LOWEST, HIGHEST))
def test_adjusted_scores_do_not_depend_on_how_readings_arrive(
    pipeline: Pipeline, cut: int, seed: int, factor: float
) -> None:
    """Row by row in the stream or all at once over HTTP: equal to 1e-9, and parts sum to scores."""
    past = healthy(seed + 10, rows=300)
    care = Care(factors={"s0": factor, "s3": 1.5})
    first_us = int(past.instants_us[0])

    def scored(rows: slice, state: object) -> tuple[np.ndarray, np.ndarray]:
        at = past.instants_us[rows]
        plain = pipeline.score(state, at, past.values[rows])  # type: ignore[arg-type]
        made = adjusted(pipeline, plain, at, care, first_us=first_us)
        return made.score, made.contributions

    whole, parts = scored(slice(None), pipeline.new_state("new"))
    state = pipeline.new_state("new")
    split = [scored(slice(0, cut), state)[0], scored(slice(cut, None), state)[0]]

    np.testing.assert_allclose(np.concatenate(split), whole, rtol=1e-9)
    np.testing.assert_allclose(parts.sum(axis=1), whole, rtol=1e-9)


def test_a_machine_without_anything_of_its_own_keeps_the_very_scores(pipeline: Pipeline) -> None:
    """What was measured without feedback holds to the last bit."""
    past = healthy(1, rows=100)
    plain = pipeline.score(pipeline.new_state("m1"), past.instants_us, past.values)

    assert adjusted(pipeline, plain, past.instants_us, NO_CARE) is plain


def test_limits_of_a_new_machine_narrow_as_its_history_grows(pipeline: Pipeline) -> None:
    """Half as sensitive at first, and as the model says from then on; it says so meanwhile."""
    assert is_cold(pipeline, "new")
    assert not is_cold(pipeline, "m1")
    assert not is_cold(pipeline, None)
    own_us = round(own_history_s(pipeline) * 1e6)
    instants = START_US + np.array([0, own_us // 2, own_us, 3 * own_us])
    plain = pipeline.score(pipeline.new_state(), instants, np.full((4, 4), 10.0))

    made = adjusted(pipeline, plain, instants, first_us=START_US)

    np.testing.assert_allclose(plain.score / made.score, [WIDEST, 1.5, 1.0, 1.0], rtol=1e-9)
    assert "cold start" in notes(pipeline, NO_CARE, int(instants[1]), START_US)[0]
    assert notes(pipeline, NO_CARE, int(instants[2]), START_US) == ()


def test_maintenance_covers_its_window_and_what_the_model_still_sees_of_it() -> None:
    """Both ends belong to it; one that nobody ended goes on."""
    care = Care(windows=(Window(starts_us=10, ends_us=20), Window(starts_us=50)))

    inside = care.under_maintenance(np.array([9, 10, 20, 21, 24, 26, 50, 10**9]), settle_us=5)

    assert inside.tolist() == [False, True, True, True, True, False, True, True]


@pytest.mark.parametrize(
    ("peak", "duration_s", "evidence", "wanted"),
    [
        (1.1, 10.0, [1.0], Severity.MINOR),
        (2.0, 10.0, [1.0], Severity.MINOR),
        (4.0, 10.0, [1.0], Severity.MAJOR),
        (1.1, 3600.0, [1.0], Severity.MAJOR),
        (2.0, 600.0, [1.0, 1.0, 1.0], Severity.MAJOR),
        (4.0, 3600.0, [1.0], Severity.CRITICAL),
    ],
)
def test_severity_grows_with_score_duration_and_breadth(
    peak: float, duration_s: float, evidence: list[float], wanted: Severity
) -> None:
    """The documented points."""
    assert severity_of(peak, duration_s, evidence) is wanted


def test_the_most_similar_come_first_and_the_unlike_not_at_all() -> None:
    """Of two that are equal the newer one."""
    past = [(1, {"a": 0.5, "b": 0.5}), (2, {"c": 1.0}), (3, {"a": 1.0}), (4, {"a": 2.0})]

    assert [number for number, _ in most_similar({"a": 0.9, "b": 0.1}, past)] == [4, 3, 1]


def test_the_test_vector_of_the_documentation_holds() -> None:
    """Receivers check their own code with it."""
    body = b'{"id":"1"}'
    by_hand = hmac.new(b"0123456789abcdef", b"1767323045." + body, hashlib.sha256).hexdigest()

    assert signature("0123456789abcdef", 1767323045, body) == f"v1={by_hand}"
    assert by_hand in (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        "ftp://host/x",
        "host/x",
        "https://",
        "https://ada:secret@host/",
        "http://host/#x",
        "http://host:99999/",
        "http://169.254.169.254/latest",
        "http://host/a b",
        "http://[::1",
    ],
)
def test_urls_that_cannot_be_used_are_refused_without_being_repeated(wrong: str) -> None:
    """The message says why; a password is not repeated."""
    with pytest.raises(BadInputError, match="webhook URL") as told:
        checked_url(wrong)

    assert "secret" not in str(told.value)


def test_urls_and_secrets_that_can_be_used_pass() -> None:
    """Receivers in the plant's own network are what it is for; Alertmanager checks no signature."""
    assert checked_url(" http://10.0.0.7:9093/api/v2/alerts ").startswith("http://10")
    assert checked_secret("", Format.ALERTMANAGER) == ""
    with pytest.raises(BadInputError, match="0 characters"):
        checked_secret("", Format.JSON)


def test_pauses_grow_to_half_an_hour() -> None:
    """A receiver that is away for long is not hammered."""
    pauses = [next_pause_s(attempts) for attempts in range(1, 17)]

    assert pauses[:4] == [2.0, 4.0, 8.0, 16.0]
    assert max(pauses) == 1800.0
    assert 3 * 3600 < sum(pauses[:-1]) < 4 * 3600


def test_an_alert_of_a_fleet_ahead_of_the_clock_does_not_end_in_the_future() -> None:
    """A simulated fleet may live in another time; Alertmanager refuses an end before the start."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    event = {
        "event": "incident.closed",
        "incident": {
            **dict.fromkeys(("machine", "machine_class", "kind", "severity", "root_sensor"), "x"),
            "id": 7,
            "peak_score": 2.0,
            "began": "2027-01-01T00:00:00+00:00",
            "closed": "2027-01-01T00:10:00+00:00",
        },
    }

    (alert,) = json.loads(body_of(Format.ALERTMANAGER, 1, event, now))

    assert alert["startsAt"] == alert["endsAt"] == "2026-01-02T00:00:00Z"
