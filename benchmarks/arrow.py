"""Predict for many machines at once: rows per second in JSON and in Arrow, from body to body.

One process, no network: what is measured is decoding, checking, scoring and encoding, which is what
the two ways differ in. The two are interleaved; the last line is one JSON object.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
import pyarrow as pa

from domain.care import Care
from domain.machines import Machine, MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.roster import Roster
from domain.wire import format_instant
from observability.metric import NoMetrics
from ray_app.champions import Champions
from ray_app.serve import arrow, windows
from ray_app.serve.scorer import Scorer

_MACHINES, _ROWS, _SENSORS, _ROUNDS = 20, 50, 20, 5
_START_US = 1_767_323_045_000_000
_NAMES = tuple(f"sensor_{at}" for at in range(_SENSORS))


class _Memory:
    """A registry and a past that need no database; nothing was stored before."""

    def __init__(self) -> None:
        sensors = tuple(Sensor(name=name) for name in _NAMES)
        self._class = MachineClass(name="pump", sensors=sensors, period_s=0.5)
        machines = [
            Machine(key=at + 1, name=f"pump-{at}", machine_class="pump") for at in range(_MACHINES)
        ]
        self._roster = Roster.of([self._class], machines)
        spec = PipelineSpec(detector="pca", window_s=10.0, regimes=1)
        histories = [_history(seed, 1200, f"pump-{seed}") for seed in (1, 2)]
        self._package = Pipeline.fit(spec, histories, self._class, seed=0).to_package()

    def roster(self) -> Roster:
        return self._roster

    def versions(self) -> Mapping[str, tuple[int, str]]:
        return {"pump": (1, "in memory")}

    def care(self) -> Mapping[str, Care]:
        return {}

    def challengers(self) -> Mapping[str, tuple[int, str]]:
        return {}

    def first_us(self, machine: str) -> None:
        del machine

    def risks(self) -> Mapping[str, tuple[int, str]]:
        return {}

    def risk_package(self, machine_class: str, version: int) -> bytes:
        raise AssertionError((machine_class, version))

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        raise AssertionError((machine, before_us, step_us))

    def package(self, machine_class: str, version: int) -> bytes:  # noqa: ARG002 - the port's names
        return self._package

    def refuse(self, machine_class: str, version: int, reason: str) -> None:
        raise AssertionError((machine_class, version, reason))

    def before(self, machine: str, instant_us: int, rows: int) -> History:  # noqa: ARG002 - the same
        return _history(0, 0, machine)

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return no readings."""
        del from_us
        return self.before(machine, before_us, rows)

    def newest(self, machine: str, rows: int) -> History:  # noqa: ARG002 - the same
        return _history(0, 0, machine)


def _history(seed: int, rows: int, machine: str) -> History:
    values = np.random.default_rng(seed).normal(10.0, 0.1, (rows, _SENSORS))
    at = _START_US + np.arange(rows, dtype=np.int64) * 500_000
    return History(machine=machine, instants_us=at, values=values)


def _bodies() -> tuple[bytes, bytes]:
    """Return the same windows in JSON and in Arrow."""
    parts = [_history(at, _ROWS, f"pump-{at}") for at in range(_MACHINES)]
    requests = [
        {
            "machine_id": one.machine,
            "readings": [
                {
                    "timestamp": format_instant(int(at)),
                    "values": dict(zip(_NAMES, row.tolist(), strict=True)),
                }
                for at, row in zip(one.instants_us, one.values, strict=True)
            ],
        }
        for one in parts
    ]
    values = np.concatenate([one.values for one in parts])
    table = pa.table(
        {
            "machine_id": [one.machine for one in parts for _ in range(_ROWS)],
            "timestamp": pa.array(
                np.concatenate([one.instants_us for one in parts]), pa.timestamp("us", tz="UTC")
            ),
            **{name: values[:, at] for at, name in enumerate(_NAMES)},
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return msgspec.json.encode({"requests": requests}), sink.getvalue().to_pybytes()


def _rate(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return _MACHINES * _ROWS / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    memory = _Memory()
    champions = Champions(memory, NoMetrics(), "predictor")
    champions.refresh()
    scorer = Scorer(champions, memory)
    as_json, as_arrow = _bodies()
    ways: dict[str, Callable[[], object]] = {
        "json": lambda: msgspec.json.encode(scorer.answer(windows.decode(as_json))),
        "arrow": lambda: arrow.scored(scorer, as_arrow),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for warm in ways.values():
        warm()
    for _ in range(_ROUNDS):
        for name, work in ways.items():
            found[name].append(_rate(work))
    told = {f"{name}_rows_per_s": round(statistics.median(one)) for name, one in found.items()}
    told |= {"json_bytes": len(as_json), "arrow_bytes": len(as_arrow)}
    ratio = round(told["arrow_rows_per_s"] / told["json_rows_per_s"], 2)
    print(f"{_MACHINES} machines × {_ROWS} readings × {_SENSORS} sensors: {told}")
    print(json.dumps({**told, "arrow_vs_json": ratio}))


if __name__ == "__main__":
    main()
