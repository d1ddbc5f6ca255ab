"""The model and the requests that every contestant is asked with."""

from pathlib import Path

import msgspec
import numpy as np

from domain.machines import MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History, Matrix
from ray_app.known import Champion

SENSORS = 20
BATCH_ROWS = 1000
_START_US = 1_750_000_000_000_000
_PERIOD_US = 500_000
CLASS = MachineClass(
    name="pump", sensors=tuple(Sensor(name=f"sensor_{n:02}") for n in range(SENSORS)), period_s=0.5
)


def rows(count: int, seed: int) -> Matrix:
    """Return readings of a healthy machine: shape (count, SENSORS)."""
    return np.round(np.random.default_rng(seed).normal(50, 5, (count, SENSORS)), 3)


def package(seed: int) -> bytes:
    """Return a trained model."""
    instants = _START_US + np.arange(1200, dtype=np.int64) * _PERIOD_US
    histories = [
        History(machine=f"m{n}", instants_us=instants, values=rows(1200, seed + n))
        for n in range(2)
    ]
    spec = PipelineSpec(detector="pca", window_s=10.0, regimes=1)
    return Pipeline.fit(spec, histories, CLASS, seed=seed).to_package()


def champion(path: Path) -> Champion:
    """Load a stored model."""
    pipeline = Pipeline.from_package(path.read_bytes())
    return Champion(machine_class=CLASS.name, version=1, sha256="", pipeline=pipeline)


def body(count: int) -> bytes:
    """Return a request for one reading in the short form, or a window of several."""
    readings = [
        {
            "timestamp": f"2026-01-02T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.500Z",
            "values": dict(zip(CLASS.sensor_names, values, strict=True)),
        }
        for at, values in enumerate(rows(count, 7).tolist())
    ]
    window = readings[0] if count == 1 else {"readings": readings}
    return msgspec.json.encode({"machine_class": CLASS.name, **window})
