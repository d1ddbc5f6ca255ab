"""What Millwright is measured against: FastAPI alone, and FastAPI with sklearn.

python -m benchmarks.serving.bare PACKAGE PORT
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import uvicorn
from fastapi import Body, FastAPI, Response
from pydantic import AwareDatetime, BaseModel
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.serving import model
from domain.readings import History
from domain.wire import parse_instant
from ray_app.champions import Champion
from ray_app.serve.verdict import predict


class Reading(BaseModel):
    """One reading of twenty sensors."""

    timestamp: AwareDatetime
    values: dict[str, float]


class Window(BaseModel):
    """Several readings, oldest first."""

    machine_class: str
    readings: list[Reading]


class Answer(BaseModel):
    """A score for each."""

    scores: list[float]
    clusters: list[int]


def same_call(champion: Champion, asked: dict[str, Any]) -> bytes:
    """Return the very answer of Millwright for one reading."""
    names = champion.pipeline.machine_class.sensor_names
    window = History(
        machine="",
        instants_us=np.array([parse_instant(asked["timestamp"])], dtype=np.int64),
        values=np.array([[asked["values"][name] for name in names]]),
    )
    return msgspec.json.encode(predict(champion, window))


def build(package: Path) -> FastAPI:
    """Return the application."""
    app = FastAPI()
    champion = model.champion(package)
    training = model.rows(1200, 1)
    sklearn_way = make_pipeline(StandardScaler(), KMeans(8, n_init=1, random_state=0)).fit(training)

    @app.post("/predict")
    async def one(asked: Annotated[dict[str, Any], Body()]) -> Response:
        return Response(same_call(champion, asked), media_type="application/json")

    @app.post("/batch")
    async def many(asked: Window) -> Answer:
        names = model.CLASS.sensor_names
        values = np.array([[one.values[name] for name in names] for one in asked.readings])
        distances = sklearn_way.transform(values)
        clusters = sklearn_way.predict(values)
        return Answer(scores=distances.min(axis=1).tolist(), clusters=clusters.tolist())

    return app


if __name__ == "__main__":
    uvicorn.run(build(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning")
