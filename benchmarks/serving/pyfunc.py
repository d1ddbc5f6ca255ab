"""The same model as MLflow serves it: `python -m benchmarks.serving.pyfunc PACKAGE FOLDER`."""

import sys
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import msgspec
from mlflow.pyfunc.model import PythonModel

from benchmarks.serving import model
from benchmarks.serving.bare import same_call
from ray_app.compute import one_thread


class Served(PythonModel):
    """Answers with the very answer of Millwright."""

    def load_context(self, context: Any) -> None:
        """Load the package."""
        one_thread()
        self._champion = model.champion(Path(context.artifacts["package"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[Any]:  # noqa: ARG002 - MLflow goes by these names
        """Score one row of a frame."""
        record = model_input.iloc[0].to_dict()
        asked = {"timestamp": record.pop("timestamp"), "values": record}
        return [msgspec.json.decode(same_call(self._champion, asked))]


if __name__ == "__main__":
    mlflow.pyfunc.save_model(
        sys.argv[2],
        python_model=Served(),
        artifacts={"package": sys.argv[1]},
        pip_requirements=["mlflow"],
    )
