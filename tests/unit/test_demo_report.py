"""The demonstration's table says what went wrong as plainly as what went well."""

from dataclasses import replace

import pytest

from ray_app.demo.report import DemoReport

GOOD = DemoReport(
    readings_stored=57_600,
    lost=0,
    duplicated=0,
    quarantined=0,
    trials=8,
    champion="pump v1",
    objective=0.8,
    failures_injected=6,
    failures_detected=6,
    missed=(),
    median_delay_s=42.0,
    false_alarms=1,
    false_alarms_per_machine_day=6.0,
    prediction_status=200,
    prediction="pump-01 scores 2.1",
    seconds=120.0,
    memory_gib=3.1,
)


def test_a_good_run_has_no_problem() -> None:
    """False alarms are printed, and are no failure of the run."""
    assert GOOD.problems() == ()
    assert "6.0 per machine and day" in "\n".join(GOOD.lines())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lost": 3}, "3 readings were lost"),
        ({"duplicated": 2}, "2 readings were duplicated"),
        ({"readings_stored": 0}, "no reading was stored"),
        ({"champion": ""}, "no model was promoted"),
        ({"missed": ("pump-03: imbalance",)}, "not detected: pump-03: imbalance"),
        ({"prediction_status": 503}, "the prediction answered 503"),
    ],
)
def test_each_fault_of_a_run_is_named(change: dict[str, object], words: str) -> None:
    """A run that failed says in what, and so exits non-zero."""
    assert replace(GOOD, **change).problems() == (words,)  # type: ignore[arg-type]


def test_what_is_not_known_is_a_dash() -> None:
    """Nothing detected has no delay; nothing promoted has no objective."""
    text = "\n".join(replace(GOOD, median_delay_s=None, objective=None).lines())

    assert "median delay       -" in text
    assert "objective -" in text
