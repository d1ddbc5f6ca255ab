"""MLflow: the one module that imports it.

Clients with explicit run ids only: the fluent API and autologging keep a run per process, and a
sweep has many at once. Whatever MLflow, its server or its database say is translated here.
"""

import logging
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final, Literal

from domain.errors import ServiceUnavailableError

EXPERIMENT: Final = "millwright"

type RunStatus = Literal["FINISHED", "FAILED"]
type Alias = Literal["champion", "challenger", "previous"]

_POLL_S = 0.5
_PARAM_CHARS = 500
_HINT = "Check MLFLOW_TRACKING_URI and that the server is running"


class Tracking:
    """Runs, artifacts and the registry.

    Args:
        uri: Tracking server (http) or store (a database's URI).
        artifact_root: Where a new experiment keeps artifacts; the server's own place when None.
    """

    def __init__(self, uri: str, artifact_root: str | None = None) -> None:
        self._uri, self._artifact_root = uri, artifact_root
        self._client: Any = None
        self._experiment = ""

    def open(self, within_s: float, *, give_up: Event | None = None) -> None:
        """Wait until MLflow answers, and find or create the experiment.

        Args:
            within_s: How long; its server may take more than a minute to come up.
            give_up: Set by whoever no longer needs it.

        Raises:
            ServiceUnavailableError: It does not answer in time.
        """
        deadline = time.monotonic() + within_s
        if self._uri.startswith(("http://", "https://")):
            _await_health(self._uri, deadline, give_up or Event())
        with _translated():
            self._client = _client(self._uri)
            self._experiment = self._experiment_id(self._client)

    def start_run(
        self, name: str, *, parent: str | None = None, tags: Mapping[str, str] | None = None
    ) -> str:
        """Begin a run, nested below its parent if it has one; return its id."""
        labels = {**(tags or {}), **({"mlflow.parentRunId": parent} if parent else {})}
        with _translated():
            run = self._client.create_run(self._experiment, run_name=name, tags=labels)
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log everything of one run in one request."""
        from mlflow.entities import Metric, Param, RunTag

        now_ms = time.time_ns() // 1_000_000
        with _translated():
            self._client.log_batch(
                run_id,
                metrics=[Metric(key, value, now_ms, 0) for key, value in (metrics or {}).items()],
                params=[
                    Param(key, str(value)[:_PARAM_CHARS]) for key, value in (params or {}).items()
                ],
                tags=[RunTag(key, value) for key, value in (tags or {}).items()],
            )

    def log_files(self, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Log files as artifacts of a run below `folder`."""
        with tempfile.TemporaryDirectory(prefix="millwright-") as scratch, _translated():
            for name, content in files.items():
                (Path(scratch) / name).write_bytes(content)
            self._client.log_artifacts(run_id, scratch, folder)

    def read_file(self, run_id: str, path: str) -> bytes:
        """Return an artifact's content."""
        with tempfile.TemporaryDirectory(prefix="millwright-") as scratch, _translated():
            return Path(self._client.download_artifacts(run_id, path, scratch)).read_bytes()

    def end_run(self, run_id: str, status: RunStatus = "FINISHED") -> None:
        """End a run."""
        with _translated():
            self._client.set_terminated(run_id, status)

    def register(
        self, name: str, run_id: str, folder: str, *, above: int, tags: Mapping[str, str]
    ) -> int:
        """Register a run's artifacts as the next version of a model; return its number.

        Args:
            name: The registered model, created if it is new.
            run_id: The run.
            folder: Its artifacts below this folder are the model.
            above: The highest number that is taken elsewhere. A registry that was lost and began
                again at 1 is brought up to it by versions that are deleted at once.
            tags: Of the version.
        """
        with _translated():
            self._ensure_model(name)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{folder}"
            while True:
                made = self._client.create_model_version(name, source, run_id, tags=dict(tags))
                if int(made.version) > above:
                    return int(made.version)
                self._client.delete_model_version(name, made.version)

    def alias(self, name: str, alias: Alias, version: int | None) -> None:
        """Point an alias at a version, or take it away."""
        with _translated():
            if version is None:
                self._client.delete_registered_model_alias(name, alias)
            else:
                self._client.set_registered_model_alias(name, alias, str(version))

    def aliases(self, name: str) -> dict[str, int]:
        """Return alias → version of a model; empty if it is not registered."""
        with _translated():
            found = self._client.search_registered_models(f"name = '{name}'")
            return {key: int(value) for one in found for key, value in one.aliases.items()}

    def _experiment_id(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            try:
                return str(client.create_experiment(EXPERIMENT, self._artifact_root))
            except MlflowException:
                # Another sweep created it in between, or this is a true error and raised again.
                found = client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _ensure_model(self, name: str) -> None:
        if self._client.search_registered_models(f"name = '{name}'"):
            return
        self._client.create_registered_model(
            name, description=f"Health of machines of the class {name}, learnt by Millwright"
        )


def load_client() -> None:
    """Import MLflow's client, here and now.

    To be called before a thread uses it beside Ray: pickling looks for names in every module there
    is, MLflow's modules load others when they are looked at, and a module that two threads import
    at once is broken for the whole process.
    """
    import mlflow.entities
    import mlflow.tracking  # noqa: F401 - for the side effect


def _client(uri: str) -> Any:
    from mlflow.environment_variables import (
        MLFLOW_HTTP_REQUEST_MAX_RETRIES,
        MLFLOW_HTTP_REQUEST_TIMEOUT,
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    )
    from mlflow.tracking import MlflowClient

    # Our output is ours: `--json` promises that its last line is the only one.
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)  # type: ignore[no-untyped-call]  # MLflow's
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # Its own patience is several minutes per request; a sweep must not hang on a dead server.
    MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(2)  # type: ignore[no-untyped-call]  # MLflow's
    MLFLOW_HTTP_REQUEST_TIMEOUT.set(30)  # type: ignore[no-untyped-call]  # MLflow's
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _await_health(uri: str, deadline: float, give_up: Event) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):  # noqa: S310 - http by the caller
                return
        except urllib.error.HTTPError:
            return  # a proxy that guards /health: something answers, the client will say more
        except OSError as error:
            if give_up.wait(_POLL_S) or time.monotonic() >= deadline:
                raise ServiceUnavailableError("MLflow", str(error), _HINT) from error


@contextmanager
def _translated() -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        said = " ".join(str(error).split())[:300]
        raise ServiceUnavailableError("MLflow", said, _HINT) from error
