"""Predict in Arrow: windows of many machines as one table, and their scores as one table.

Columns of a request: `machine_id`; `timestamp`; and the sensors, each as a number column of its
name, or all as one list column `values` in the order of the machine's class. Rows of a machine are
in order; machines may be mixed. A table of `machine_id` alone asks about stored readings.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from domain.readings import History, Matrix
from ray_app.beginnings import Beginning
from ray_app.known import Champion
from ray_app.serve.arrow_table import (
    MACHINE,
    TIME,
    Sensors,
    instants,
    machines,
    ordered,
    read,
    wrong,
)
from ray_app.serve.schema import Predictions
from ray_app.serve.scorer import Scorer
from ray_app.serve.verdict import THRESHOLD, Own, predict
from ray_app.serve.verdict import scored as scores_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """One machine's part of a request, ready to be scored.

    Attributes:
        champion: What scores it.
        rows: Shape (n,), where its rows stand in the answer.
        given: The window.
        context: Stored readings before it.
        own: What is the machine's own.
    """

    champion: Champion
    rows: npt.NDArray[np.intp]
    given: History
    context: Beginning | None
    own: Own


def predicted(scorer: Scorer, body: bytes) -> Predictions:
    """Return a verdict per machine, in the order in which the machines first appear.

    Raises:
        RefusedError: The body is no such table (422).
        NotFoundError: A machine is not registered.
        NoChampionError: A class has no champion yet.
    """
    return Predictions(
        results=[
            predict(
                one.champion,
                one.given,
                context=one.context,
                own=one.own,
                failure=scorer.failure(one.champion, one.given),
            )
            for one in _windows(scorer, read(body))
        ]
    )


def scored(scorer: Scorer, body: bytes) -> bytes:
    """Return a table with the verdict on every row, as an Arrow stream; errors as `predicted`."""
    parts = list(_windows(scorer, read(body)))
    columns: dict[str, list[Any]] = {name: [] for name in _ANSWER.names}
    for one in parts:
        for name, found in _verdicts(one).items():
            columns[name].append(found)
    order = np.argsort(np.concatenate([one.rows for one in parts]), kind="stable")
    arrays = [
        pa.concat_arrays([pa.array(one, _ANSWER.field(name).type) for one in found]).take(order)
        for name, found in columns.items()
    ]
    classes = {one.champion.machine_class: one.champion.pipeline.machine_class for one in parts}
    names = {name: list(found.sensor_names) for name, found in classes.items()}
    schema = _ANSWER.with_metadata({"sensors": json.dumps(names)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


_ANSWER: Final = pa.schema(
    [
        (MACHINE, pa.string()),
        ("machine_class", pa.string()),
        (TIME, pa.timestamp("us", tz="UTC")),
        ("score", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("ready", pa.bool_()),
        ("model_version", pa.int32()),
        ("root_sensor", pa.string()),
        ("contributions", pa.list_(pa.float64())),
        ("expected", pa.list_(pa.float64())),
    ]
)


def _verdicts(one: _Judged) -> dict[str, Any]:
    scores, skip = scores_of(one.champion, one.given, one.context, one.own)
    found, parts = scores.score[skip:], scores.contributions[skip:]
    names = np.array(one.champion.pipeline.machine_class.sensor_names)
    return {
        MACHINE: [one.given.machine] * len(found),
        "machine_class": [one.champion.machine_class] * len(found),
        TIME: one.given.instants_us,
        "score": found,
        "is_anomaly": found > THRESHOLD,
        "ready": scores.ready[skip:],
        "model_version": np.full(len(found), one.champion.version, np.int32),
        "root_sensor": names[parts.argmax(axis=1)].tolist(),
        "contributions": _lists(parts),
        "expected": _lists(scores.expected[skip:]),
    }


def _lists(values: Matrix) -> pa.Array:
    rows, width = values.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), from_pandas=True)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _windows(scorer: Scorer, table: pa.Table) -> Iterator[_Judged]:
    names = table.column_names
    if len(set(names)) < len(names) or MACHINE not in names:
        raise wrong(f"each column has a name of its own, and one is {MACHINE}; it has {names}")
    found, codes = machines(table.column(MACHINE))
    champions = [scorer.champion_of(name) for name in found]
    if names == [MACHINE]:
        if len(found) < len(codes):
            raise wrong("without readings each machine stands in one row")
        for row, name in enumerate(found):
            newest, past = scorer.newest(champions[row], name)
            yield _Judged(
                champion=champions[row],
                rows=np.array([row]),
                given=newest,
                context=past,
                own=scorer.own(champions[row], newest),
            )
        return
    if TIME not in names:
        raise wrong(f"column {TIME} is missing")
    at = instants(table.column(TIME))
    sensors = Sensors(table, {one.machine_class: one.pipeline.machine_class for one in champions})
    for code, name in enumerate(found):
        rows = np.flatnonzero(codes == code)
        given = History(
            machine=name,
            instants_us=ordered(at, rows, name),
            values=sensors.of(champions[code].pipeline.machine_class, rows),
        )
        context, note = scorer.past(champions[code], given)
        own = scorer.own(champions[code], given, note)
        yield _Judged(champion=champions[code], rows=rows, given=given, context=context, own=own)
