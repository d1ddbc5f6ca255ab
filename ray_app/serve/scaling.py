"""How many replicas the load wants, by the requests under way as HAProxy counts them.

A replica answers one request after the other in its event loop. What waits, waits in its sockets:
Serve, which counts what a replica has begun, sees one or two of fifty and would never start a
second replica. HAProxy knows of every request that it has not answered yet. The policy runs in
Serve's controller, on the node of HAProxy; without HAProxy it goes by what Serve counts.
"""

import math
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from observability.catalogue import REQUESTS_UNDER_WAY
from ray_app.metrics import process_metrics

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

_SOCKET = "RAY_SERVE_HAPROXY_SOCKET_PATH"
_PERIOD_S = 0.5
"""Between two looks; Serve asks ten times a second."""
_MEMORY_S = 8.0
"""Time constant of the average: a burst of a second starts no replica."""
_TIMEOUT_S = 0.2

_LOOKED, _AVERAGE = "looked_at", "under_way"


def by_requests_under_way(context: "AutoscalingContext") -> tuple[float, dict[str, Any]]:
    """Return how many replicas are wanted, before Serve's bounds and delays, and what to remember.

    Set as `policy_function` in `serve_config.yaml`.
    """
    state = dict(context.policy_state)
    now = time.monotonic()
    before = state.get(_LOOKED, now - _PERIOD_S)
    if now - before >= _PERIOD_S:
        seen = under_way(f"http-{context.app_name}")
        counted = max(float(context.total_num_requests), seen or 0.0)
        state[_AVERAGE] = averaged(state.get(_AVERAGE, 0.0), counted, now - before)
        state[_LOOKED] = now
        metrics = process_metrics()
        metrics.set(REQUESTS_UNDER_WAY, state[_AVERAGE], deployment=context.deployment_name)
    config: Any = context.config
    return state.get(_AVERAGE, 0.0) / config.get_target_ongoing_requests(), state


def averaged(before: float, counted: float, seconds: float) -> float:
    """Return the moving average after a new count, `seconds` after the last one."""
    return before + (counted - before) * -math.expm1(-seconds / _MEMORY_S)


def under_way(backend: str) -> float | None:
    """Return the requests that HAProxy of this host has not answered; None where there is none.

    Args:
        backend: Of HAProxy; Serve's name of an application with `http-` before it.
    """
    named = os.environ.get(_SOCKET)
    if named is None:
        return None
    path = Path(named)
    # Serve adds a folder per node.
    found = [_asked(one, backend) for one in path.parent.glob(f"*/{path.name}")]
    known = [one for one in found if one is not None]
    return sum(known) if known else None


def _asked(path: Path, backend: str) -> float | None:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_TIMEOUT_S)
            client.connect(str(path))
            # Of type 2, backends, whatever their number.
            client.sendall(f"show stat {backend} 2 -1\n".encode())
            told = b"".join(iter(lambda: client.recv(65_536), b""))
    except OSError:
        return None
    return sessions(told.decode("utf-8", "replace"))


def sessions(told: str) -> float | None:
    """Return the sessions under way of the first row of HAProxy's statistics; None without one."""
    head, *rows = [line.split(",") for line in told.splitlines() if line] or [[]]
    if not rows or "scur" not in head:
        return None
    return float(rows[0][head.index("scur")])
