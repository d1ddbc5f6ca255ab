"""One score for one input: over the stream, HTTP, in a backtest and in a sweep, to 1e-9.

Random readings of two machines with holes in time and missing sensors; random batches, in which
the machines take turns. Every way goes through its own code, from its own input, and starts from
the same package, as it does in production.
"""

import json
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.machines import Machine
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, ReadingBatch
from domain.scorecard.backtest import history_run
from domain.scorecard.protocol import score_rest
from domain.scores import Scores
from domain.wire import format_instant
from ray_app.judge import Judge
from ray_app.known import Champion
from ray_app.serve import windows
from ray_app.serve.verdict import predict
from tests.unit.learning_samples import START_US, healthy, machine_class

ROWS = 160
LATER_US = START_US + 10_000_000_000
"""Long after what was learnt from: nothing of it is judged."""
MACHINES = {at: Machine(key=at, name=f"m{at}", machine_class="toy") for at in (1, 2)}
SPECS = (
    PipelineSpec(window_s=20, baseline_s=200, recover_s=30),
    PipelineSpec(features="gated-window", detector="kmeans", window_s=15, baseline_s=150),
)


class NoPast:
    """A store that holds nothing yet."""

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return no reading."""
        del instant_us, rows
        return History(
            machine=machine, instants_us=np.empty(0, dtype=np.int64), values=np.empty((0, 4))
        )

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return no readings."""
        del from_us
        return self.before(machine, before_us, rows)

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Nobody asks: there is no risk model."""
        raise AssertionError((machine, before_us, step_us))

    def first_us(self, machine: str) -> None:
        """Return that there is none."""
        del machine


@pytest.fixture(scope="module", params=SPECS, ids=lambda spec: f"{spec.features}-{spec.detector}")
def champion(request: pytest.FixtureRequest) -> Champion:
    """Return a model as it comes out of its package."""
    past = [healthy(seed) for seed in (1, 2, 3)]
    package = Pipeline.fit(request.param, past, machine_class(), seed=0).to_package()
    loaded = Pipeline.from_package(package)
    return Champion(machine_class="toy", version=1, sha256="", pipeline=loaded)


def _lived(seed: int, key: int, missing: float, shift: float) -> History:
    """Return readings with a fault in the second half; a row is never all missing."""
    rng = np.random.default_rng([seed, key])
    values = healthy(seed * 7 + key, rows=ROWS).values.copy()
    values[ROWS // 2 :, key] += shift
    gone = rng.random(values.shape) < missing
    gone[:, 0] = False
    values[gone] = np.nan
    steps = rng.choice((500_000, 1_000_000, 40_000_000), ROWS, p=(0.3, 0.68, 0.02))
    return History(machine=f"m{key}", instants_us=LATER_US + np.cumsum(steps), values=values)


def _bulk(champion: Champion, one: History) -> Scores:
    """Score as a sweep does: the whole history at once."""
    pipeline = champion.pipeline
    return pipeline.score(pipeline.new_state(one.machine), one.instants_us, one.values)


def _assert_stream_agrees(
    champion: Champion, lived: dict[int, History], cuts: Sequence[int]
) -> None:
    """Hold what is told of each batch against the scores in bulk.

    A batch has many readings of one machine and few of the other, or few of both: the second one's
    cuts are those of the first from behind.
    """
    judge = Judge(NoPast(), (), {})
    others = {ROWS - cut for cut in cuts}
    ways = (pairwise(sorted({0, ROWS, *of})) for of in (cuts, others))
    for parts in zip(*ways, strict=True):
        bounds = dict(zip(lived, parts, strict=True))
        spans = {key: slice(*bounds[key]) for key in lived}
        batch = ReadingBatch(
            machine_class=champion.pipeline.machine_class,
            machine_keys=np.concatenate(
                [np.full(end - first, key, np.int32) for key, (first, end) in bounds.items()]
            ),
            instants_us=np.concatenate([lived[key].instants_us[at] for key, at in spans.items()]),
            values=np.concatenate([lived[key].values[at] for key, at in spans.items()]),
        )
        told = judge.judge(batch, MACHINES, champion)
        last = {state.machine_key: state.score for state in told.states}
        found = {
            (one.machine_key, one.instant_us): one.score
            for one in told.anomalies
            if one.kind == "machine"
        }
        sure = {}
        for key, one in lived.items():
            scores, (first, end) = _bulk(champion, one), bounds[key]
            assert last[key] == pytest.approx(scores.score[end - 1], rel=1e-9, abs=1e-9)
            for row in range(first, end):
                if scores.ready[row] and scores.score[row] > 1:
                    sure[key, int(one.instants_us[row])] = float(scores.score[row])
        assert found == pytest.approx(sure, rel=1e-9)


def _body(one: History) -> bytes:
    names = machine_class().sensor_names
    readings = [
        {
            "timestamp": format_instant(int(instant)),
            "values": {
                name: float(value)
                for name, value in zip(names, row, strict=True)
                if not np.isnan(value)
            },
        }
        for instant, row in zip(one.instants_us, one.values, strict=True)
    ]
    return json.dumps({"machine_id": one.machine, "readings": readings}).encode()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(1, ROWS - 1), max_size=10),
    missing=st.sampled_from((0.0, 0.1, 0.4)),
    shift=st.sampled_from((0.0, 5.0, 40.0)),
)
def test_every_way_gives_the_same_score(
    champion: Champion, seed: int, cuts: list[int], missing: float, shift: float
) -> None:
    """Batches of any size, JSON and back, chunks of a backtest: equal to bulk within 1e-9."""
    lived = {key: _lived(seed, key, missing, shift) for key in MACHINES}

    _assert_stream_agrees(champion, lived, cuts)
    for one in lived.values():
        bulk = _bulk(champion, one)
        wanted, ready = bulk.score, bulk.ready
        (window,) = windows.asked(windows.decode(_body(one)))
        instants, values = windows.columns(window, champion.pipeline.machine_class)
        given_ = History(machine=one.machine, instants_us=instants, values=values)
        over_http = predict(champion, given_)
        np.testing.assert_allclose(over_http.scores, wanted, rtol=1e-9, atol=1e-9)
        run = history_run(one, champion.pipeline.machine_class, None, learnt_rows=0)
        told = score_rest(champion.pipeline, run, chunk_rows=max(1, cuts[0] if cuts else 60))
        # The backtest counts what the stream does not judge yet as no alarm.
        np.testing.assert_allclose(told.score[ready], wanted[ready], rtol=1e-9, atol=1e-9)
        assert (told.score[~ready] <= 1).all()
