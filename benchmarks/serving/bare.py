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

from benchmarks.serving import model
from benchmarks.serving.usual import Answer, Usual, Window
from domain.readings import History
from domain.wire import parse_instant
from ray_app.compute import one_thread
from ray_app.known import Champion
from ray_app.serve.verdict import predict


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
    one_thread()
    champion = model.champion(package)
    usual = Usual(model.rows(1200, 1))

    @app.post("/predict")
    async def one(asked: Annotated[dict[str, Any], Body()]) -> Response:
        return Response(same_call(champion, asked), media_type="application/json")

    @app.post("/batch")
    async def many(asked: Window) -> Answer:
        return usual.answer(asked)

    return app


if __name__ == "__main__":
    uvicorn.run(build(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning")
