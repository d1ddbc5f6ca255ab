"""The usual way on Ray Serve: a FastAPI ingress that asks a model deployment by handle.

    python -m benchmarks.serving.naive PACKAGE PORT

Under Serve's default proxy. Prints `ready` and runs until its input ends.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import ray
from fastapi import Body, FastAPI, Response
from ray import serve

from benchmarks.serving import model
from benchmarks.serving.bare import same_call

web = FastAPI()


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1})
class Model:
    """Scores."""

    def __init__(self, package: str) -> None:
        self._champion = model.champion(Path(package))

    def predict(self, asked: dict[str, Any]) -> bytes:
        """Return the answer as JSON."""
        return same_call(self._champion, asked)


@serve.deployment(max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1})
@serve.ingress(web)
class Web:
    """Takes requests."""

    def __init__(self, scores: Any) -> None:
        self._scores = scores

    @web.post("/predict")
    async def predict(self, asked: Annotated[dict[str, Any], Body()]) -> Response:
        """Ask the model."""
        found = await self._scores.predict.remote(asked)
        return Response(found, media_type="application/json")


def main(package: str, port: int) -> None:
    """Serve until the input ends."""
    # A plain cluster without a token: this process has imported Ray already, and it reads its mode
    # of authentication once, at the import.
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    # Decorated classes are deployments, which their declared types do not say.
    web_class: Any = Web
    model_class: Any = Model
    serve.run(web_class.bind(model_class.bind(package)), route_prefix="/")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
