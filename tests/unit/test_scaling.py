"""The policy of the serving side's autoscaling, as a function of counts."""

from types import SimpleNamespace
from typing import Any

import pytest

from observability.metric import NoMetrics
from ray_app.serve import scaling

_STATISTICS = """\
# pxname,svname,qcur,qmax,scur,smax,
http-predictor,BACKEND,0,0,48,51,
"""


def context(*, seen_by_serve: float = 0.0, state: dict[str, Any] | None = None) -> Any:
    """Return what Serve hands to a policy, as far as ours looks at it."""
    return SimpleNamespace(
        app_name="predictor",
        deployment_name="predictor",
        total_num_requests=seen_by_serve,
        policy_state=state or {},
        config=SimpleNamespace(get_target_ongoing_requests=lambda: 16.0),
    )


def test_a_load_that_lasts_is_believed_and_a_burst_is_not() -> None:
    """Three times the target for a second wants one replica, for ten seconds more than two."""
    after_s = {}
    average = 0.0
    for look in range(1, 41):
        average = scaling.averaged(average, 48.0, 0.5)
        after_s[look / 2] = average / 16

    assert after_s[1] < 1
    assert 2 < after_s[10] < after_s[20] < 3


def test_what_haproxy_counts_goes_before_what_serve_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fifty that wait in sockets a replica has begun one."""
    monkeypatch.setattr(scaling, "under_way", lambda _: 48.0)
    monkeypatch.setattr(scaling, "process_metrics", NoMetrics)
    wanted, state = scaling.by_requests_under_way(context(seen_by_serve=1.0))

    assert wanted == pytest.approx(scaling.averaged(0.0, 48.0, 0.5) / 16)
    assert scaling.by_requests_under_way(context(state=state))[0] == wanted, (
        "it looks twice a second"
    )


def test_without_haproxy_it_goes_by_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under Serve's own proxy, where every request is seen to be under way."""
    monkeypatch.delenv("RAY_SERVE_HAPROXY_SOCKET_PATH", raising=False)
    wanted, _ = scaling.by_requests_under_way(context(seen_by_serve=32.0))

    assert wanted == pytest.approx(scaling.averaged(0.0, 32.0, 0.5) / 16)


@pytest.mark.parametrize(
    ("told", "expected"),
    [(_STATISTICS, 48.0), ("", None), ("No such proxy.\n", None), ("# pxname,scur,\n", None)],
)
def test_haproxys_table_is_read_by_its_columns_names(told: str, expected: float | None) -> None:
    """Whatever is no table tells nothing, instead of nought."""
    assert scaling.sessions(told) == expected
