"""The protocol: causal, blind to labels, and counted as it says."""

from dataclasses import replace

import numpy as np
import pytest

from domain.errors import BadInputError
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.risk import Life
from domain.scorecard.baselines import BASELINES, judge_baseline
from domain.scorecard.card import fleet_card, over_runs, runs_card, score_run
from domain.scorecard.lives import calibration_error, risk_figures
from domain.scorecard.protocol import Verdicts, at_period, choose, judge, score_rest
from domain.scorecard.runs import Fleet, Format, Run
from domain.scorecard.tally import Tally, figures

ROWS, ONSET, END = 700, 500, 600


def _run(seed: int = 0, *, shift: float = 8.0) -> Run:
    """Three noisy sensors; the second one is off its level during rows 500 to 599."""
    rng = np.random.default_rng(seed)
    values = rng.normal((10.0, 200.0, -3.0), (1.0, 5.0, 0.1), (ROWS, 3))
    values[ONSET:END, 1] += shift * 5.0
    anomalous = np.zeros(ROWS, dtype=bool)
    anomalous[ONSET:END] = True
    return Run(
        name=f"run {seed}",
        kind=Format.SKAB,
        sensors=("a", "b", "c"),
        instants_us=np.arange(ROWS) * 1_000_000,
        values=values,
        anomalous=anomalous,
        changepoints=np.diff(anomalous, prepend=False),
        roots=np.where(anomalous, 1, -1),
    )


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Learnt from the first part of the run."""
    run = _run()
    return Pipeline.fit(PipelineSpec(), [run.train], run.machine_class, seed=0)


def test_a_plain_fault_is_found_and_its_root_named() -> None:
    """Soon, at few false alarms, and the sensor that is off is the one with the evidence."""
    run = _run()

    found = figures([Tally.of(run, judge(run, seed=0))])

    assert found["f1"] is not None
    assert found["f1"] > 0.75
    assert (found["events"], found["events_detected"], found["hit_at_1"]) == (1, 1, 1.0)
    assert found["median_delay_s"] is not None
    assert found["median_delay_s"] <= 15


@pytest.mark.parametrize("chunk_rows", [1, 7, 1000])
def test_verdicts_do_not_hang_on_how_readings_arrive(pipeline: Pipeline, chunk_rows: int) -> None:
    """One by one or all at once: the same scores."""
    run = _run()

    told = score_rest(pipeline, run, chunk_rows=chunk_rows)

    np.testing.assert_allclose(told.score, score_rest(pipeline, run).score, rtol=1e-9)


def test_verdicts_are_causal() -> None:
    """What comes later changes nothing of what was told before."""
    run = _run()
    values = run.values.copy()
    values[550:] = 1e3
    changed = replace(run, values=values)

    before, after = (judge(one, seed=0).score[:150] for one in (run, changed))

    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("by_replay", [False, True])
def test_labels_are_not_looked_at(*, by_replay: bool) -> None:
    """Turned round or taken away, they change no verdict, of ours or of a baseline."""
    run = _run()
    blind = replace(run, anomalous=None, changepoints=None, roots=None)

    np.testing.assert_array_equal(
        judge(run, seed=1, by_replay=by_replay).score,
        judge(blind, seed=1, by_replay=by_replay).score,
    )
    for name in BASELINES:
        np.testing.assert_array_equal(
            judge_baseline(name, run, seed=0).score, judge_baseline(name, blind, seed=0).score
        )


def test_replay_chooses_from_what_is_learnt_from_alone() -> None:
    """What is scored may be anything: the choice stays."""
    run = _run()
    values = run.values.copy()
    values[run.train_rows :] = 0.0

    other = replace(run, values=values)
    assert choose(run, [run.train], seed=0) == choose(other, [other.train], seed=0)


def test_times_are_stretched_to_the_rate_of_readings() -> None:
    """Five-minute data are treated like second data are."""
    assert at_period(PipelineSpec(window_s=30.0), 300.0).window_s == 9000.0


def _told(run: Run, rows: list[int]) -> Verdicts:
    told = np.zeros(len(run.test), dtype=bool)
    told[rows] = True
    return Verdicts(
        score=told * 2.0, told=told, opened=np.array(rows[:1]), contributions=np.eye(3)[[0] * 300]
    )


def test_figures_are_counted_from_the_scored_part() -> None:
    """Rows count from the end of the learnt part: the event is at 100 to 199 of 300."""
    run = _run()

    early = Tally.of(run, _told(run, [20, 110]))
    found = figures([early])

    assert (early.confusion.tp, early.confusion.fp, early.confusion.fn) == (1, 1, 99)
    assert (early.false_incidents, early.delays_s) == (1, (10.0,))
    assert found["hit_at_1"] == 0.0
    assert found["false_incidents_per_machine_day"] == pytest.approx(86_400 / 299)


@pytest.mark.parametrize(("rank", "at_1", "at_3"), [(0, 1, 1), (1, 0, 1), (2, 0, 1), (3, 0, 0)])
def test_the_root_counts_as_near_among_the_three_with_the_most_evidence(
    rank: int, at_1: float, at_3: float
) -> None:
    """The fourth sensor is one that nobody looks at."""
    run = _run()
    evidence = np.zeros((len(run.test), 5))
    evidence[:, np.delete(np.arange(5), 1)] = [9.0] * rank + [1.0] * (4 - rank)
    evidence[:, 1] = 5.0
    told = replace(_told(run, [110, 120]), contributions=evidence)

    found = figures([Tally.of(run, told)])

    assert (found["hit_at_1"], found["hit_at_3"]) == (at_1, at_3)


def test_a_change_is_told_apart_from_the_verdict() -> None:
    """Begin and end of the fault are met; who tells no change is taken at its verdict's turns."""
    run = _run()
    told = judge(run, seed=0)
    tally, turned = Tally.of(run, told), Tally.of(run, replace(told, changes=None))

    assert told.changes is not None
    assert (tally.nab.windows, tally.nab.met) == (2, 2)
    assert [delay is not None and delay <= 15 for delay in tally.change_delays_s] == [True]
    assert figures([tally])["median_change_delay_s"] == tally.change_delays_s[0]
    assert figures([tally])["median_visible_delay_s"] == tally.visible_delays_s[0]
    assert tally.visible_delays_s[0] == tally.delays_s[0]  # its fault is a step at the label
    assert turned.change_delays_s == ()
    assert figures([turned])["median_change_delay_s"] is None
    assert turned.nab == Tally.of(run, replace(told, changes=np.diff(told.told, prepend=False))).nab


def test_changes_are_told_by_chunks_as_row_by_row(pipeline: Pipeline) -> None:
    """However readings arrive."""
    run = _run()
    told = []
    for rows in (1, 7, 300):
        found = score_rest(pipeline, run, chunk_rows=rows).changes
        assert found is not None
        told.append(np.flatnonzero(found).tolist())

    assert told[0] == told[1] == told[2]
    assert len(told[0]) >= 2


def test_a_run_without_labels_only_tells_of_false_alarms() -> None:
    """It does not enter F1."""
    run = _run()
    blank = replace(run, name="blank", anomalous=None, changepoints=None, roots=None)
    one, other = Tally.of(run, _told(run, [150])), Tally.of(blank, _told(blank, [0, 1, 2]))

    alone, both = figures([one]), figures([one, other])

    assert (both["f1"], both["far"]) == (alone["f1"], alone["far"])
    assert both["far_unlabelled"] == pytest.approx(1.0)
    assert "far_unlabelled" not in alone
    assert figures([other])["f1"] is None


def test_the_card_holds_every_run_seed_and_baseline() -> None:
    """In all, per file, with spread over seeds and runs."""
    card = runs_card([score_run(_run(seed), seeds=1) for seed in range(2)])

    assert set(card["per_file"]) == {"run 0", "run 1"}
    assert set(card["baselines"]) == set(BASELINES)
    assert card["spread"]["f1"]["sd_over_seeds"] == 0.0
    low, high = card["spread"]["f1"]["interval_over_runs"]
    assert low - 1e-9 <= card["f1"] <= high + 1e-9
    assert card["baselines"]["always_alarm"]["far"] == 100.0
    assert (card["events"], card["auc"]) == (2, None)


def test_intervals_need_more_than_one_run() -> None:
    """A single run says nothing about others."""
    run = _run()

    assert over_runs([Tally.of(run, _told(run, [150]))]) == {}


def test_fleets_are_averaged_over_files_and_spread_over_seeds() -> None:
    """Two files under two seeds."""
    card = fleet_card({"a": [{"auc": 0.5}, {"auc": 0.7}], "b": [{"auc": 0.9}, {"auc": 0.9}]})

    assert card["auc"] == pytest.approx(0.75)
    assert card["spread"]["auc"]["sd_over_seeds"] == pytest.approx(0.05)
    assert card["per_file"]["a"]["auc"] == pytest.approx(0.6)


def test_calibration_error_is_the_mean_gap_between_told_and_true() -> None:
    """Two bins: .25 told and 0 true, .75 told and 1 true."""
    p = np.array([0.25, 0.25, 0.75, 0.75])

    assert calibration_error(p > 0.5, p) == pytest.approx(0.25)
    assert calibration_error(np.array([True, True]), np.ones(2)) == 0.0


def test_risk_is_judged_on_machines_that_were_not_learnt_from() -> None:
    """Wear that shows is foretold; too few lives are refused."""
    rng = np.random.default_rng(0)
    lives = []
    for _ in range(15):
        left = np.arange(int(rng.integers(100, 160)) - 1, -1, -1)
        wear = 6 * np.exp(-left / 30)[:, None] * np.array([1.0, -0.7])
        lives.append(Life(values=wear + rng.normal(size=(len(left), 2))))

    found = risk_figures(Fleet(name="f", lives=tuple(lives)), seed=0)

    assert found["auc"] > 0.9
    assert found["rmse"] < 30
    assert 0.6 < found["coverage"] <= 1
    with pytest.raises(BadInputError, match="12 lives"):
        risk_figures(Fleet(name="f", lives=tuple(lives[:12])), seed=0)
