"""Ray: a local cluster, and the one place where plain classes become actors."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from domain.errors import ServiceUnavailableError

_OBJECT_STORE_BYTES = 256 * 2**20
"""A sweep shares tens of megabytes; readings never pass through the object store."""
_NAMESPACE = "millwright"
_ATTEMPTS = 2
_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A running cluster.

    Attributes:
        address: Of its head, `host:port`.
        dashboard: URL of its dashboard.
        token_file: File with the token that every client must bring.
    """

    address: str
    dashboard: str
    token_file: Path


@contextmanager
def local(home: Path, *, dashboard_port: int, cpus: int | None = None) -> Iterator[Cluster]:
    """Start a cluster on this machine, and stop it at the end of the block.

    Must be called before anything else uses Ray in this process: the token comes first.

    Args:
        home: Where the token is kept.
        dashboard_port: A free port on loopback.
        cpus: Logical CPUs; the machine's, and one for the always-on actors, when None.

    Raises:
        ServiceUnavailableError: Ray does not come up.
    """
    token_file = use_token(home)
    # Ray would run replicas, consumers and scorer at niceness 15, behind every other program of
    # this machine; what may wait, a sweep's trials, makes itself nice.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    _init(
        address="local",
        num_cpus=cpus or max(2, os.cpu_count() or 1) + 1,
        object_store_memory=_OBJECT_STORE_BYTES,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        dashboard_port=dashboard_port,
    )
    try:
        yield Cluster(
            address=ray.get_runtime_context().gcs_address,
            dashboard=f"http://127.0.0.1:{dashboard_port}",
            token_file=token_file,
        )
    finally:
        ray.shutdown()


@contextmanager
def joined(home: Path, address: str) -> Iterator[None]:
    """Join the running cluster of a home for the time of the block.

    Raises:
        ServiceUnavailableError: It does not answer.
    """
    use_token(home)
    import ray

    _init(address=address)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def attached(address: str) -> Iterator[Cluster]:
    """Join a cluster that somebody else runs, for the time of the block.

    Its token comes from RAY_AUTH_TOKEN_PATH, as for every client of Ray.

    Args:
        address: `auto` on one of its nodes, or `host:port` of its head.

    Raises:
        ServiceUnavailableError: Nobody answers there, or the token is not its own.
    """
    import ray

    try:
        context = ray.init(
            address=address, namespace=_NAMESPACE, log_to_driver=False, configure_logging=False
        )
    except (RuntimeError, ConnectionError, TimeoutError, ValueError) as error:
        raise ServiceUnavailableError("Ray", " ".join(str(error).split())[:300]) from error
    try:
        yield Cluster(
            address=ray.get_runtime_context().gcs_address,
            dashboard=f"http://{context.dashboard_url}",
            token_file=Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")),
        )
    finally:
        ray.shutdown()


def takes_jobs(*, within_s: float = 60.0) -> bool:
    """Await the agent that runs jobs on the node of this driver; return whether it is there.

    Ray starts it apart from everything else, and until then refuses `ray job submit` with "No
    available agent". Its address is entered once it listens.
    """
    import ray
    from ray._private.ray_constants import KV_NAMESPACE_DASHBOARD
    from ray.dashboard.consts import DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX
    from ray.experimental.internal_kv import _internal_kv_exists

    key = f"{DASHBOARD_AGENT_ADDR_NODE_ID_PREFIX}{ray.get_runtime_context().get_node_id()}"
    deadline = time.monotonic() + within_s
    while not _internal_kv_exists(key, namespace=KV_NAMESPACE_DASHBOARD):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _init(**options: Any) -> None:
    """Start or join a cluster; twice at most, for on a busy machine its head can be late.

    Raises:
        ServiceUnavailableError: It does not come up.
    """
    import ray

    for attempt in range(1, _ATTEMPTS + 1):
        try:
            ray.init(namespace=_NAMESPACE, log_to_driver=False, configure_logging=False, **options)
        except Exception as error:  # Ray tells a head that is late by a bare `Exception`
            ray.shutdown()
            if attempt == _ATTEMPTS:
                said = " ".join(str(error).split())[:300]
                raise ServiceUnavailableError("Ray", said) from error
        else:
            return


def use_token(home: Path) -> Path:
    """Make this process, and all it starts, speak to Ray with a token; return its file.

    It is the one the environment names, or the home's own, made where there is none. Ray reads mode
    and token once per process, at its import: who starts two clusters must name one file for both.
    """
    home.mkdir(parents=True, exist_ok=True)
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    path = Path(named) if named and Path(named).is_file() else home / "ray.token"
    if not path.is_file():
        partial = path.with_name(f".ray.token.{os.getpid()}")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(32))
        partial.replace(path)
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(path),
        # A driver that `uv run` started would have uv rebuild its environment for every worker.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return path


def as_actor(  # noqa: PLR0913 - one argument per option of Ray, each with its default
    plain: type,
    *arguments: Any,
    name: str,
    cpus: float = 0.1,
    threads: int = 2,
    restarts: int = -1,
    spread: bool = False,
) -> Any:
    """Create an actor of a plain class and return its handle.

    Args:
        plain: The class; it knows nothing of Ray.
        *arguments: Of its constructor: settings, which is all that crosses.
        name: Unique in the cluster; shown in the dashboard.
        cpus: Share of a logical CPU that is set aside.
        threads: Calls at the same time; two, so that `stop` is heard while `run` runs.
        restarts: How often Ray starts a dead one again; -1 for always.
        spread: Place it apart from its like, over all nodes of the cluster; else Ray fills one
            node after the other.
    """
    import ray

    options = {
        "name": name,
        "num_cpus": cpus,
        "max_concurrency": threads,
        "max_restarts": restarts,
        # Who runs a call of a dead actor again is `ray_app.crew`, which can wait in between.
        "max_task_retries": 0,
        "scheduling_strategy": "SPREAD" if spread else "DEFAULT",
    }
    return ray.remote(plain).options(**options).remote(*arguments)
