"""A challenger in shadow, over real Kafka and Postgres: its figures, its failures, its bounds."""

import hashlib
from collections.abc import Callable

import pytest

from domain.errors import ConflictError
from domain.machines import MachineClass, Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from ingestion.settings import KafkaSettings
from observability.metric import NoMetrics
from ray_app.known import Champion
from ray_app.scorer_actor import ScorerActor
from ray_app.shadow import Shadow
from storage import anomalies, incidents, models, shadow
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests.integration.test_api import Served
from tests.integration.test_incident_care import _Alone, on_stream
from tests.integration.test_scorer import (  # fixtures are asked for by name
    LIVE,
    PUMP,
    SENSORS,
    TRAINED,
    at_work,
    packages,  # noqa: F401
    promote,
    publish,
    readings,
    scored_to,
    settings,  # noqa: F401
    until,
)
from tuning import registry
from tuning.promotion import Gate


def keep(database: StorageSettings, version: int, package: bytes) -> None:
    """Store a version that is not promoted."""
    with session(database) as on:
        models.add_version(
            on,
            models.StoredModel(
                machine_class="pump",
                version=version,
                run_id="run",
                sha256=hashlib.sha256(package).hexdigest(),
                package=package,
            ),
            actor="test",
            reason="trained",
        )


def seen(count: int) -> Callable[[StorageSettings], bool]:
    """Say whether a challenger scored so many readings."""

    def holds(database: StorageSettings) -> bool:
        with session(database) as on:
            return sum(one.readings for one in shadow.listed(on)) >= count

    return holds


def test_a_challenger_scores_the_live_stream_beside_the_champion(
    settings: KafkaSettings,  # noqa: F811
    database: StorageSettings,
    packages: list[bytes],  # noqa: F811
) -> None:
    """Alerts, agreement and drift are stored; the gate reads them, and --force passes over it."""
    promote(database, 1, packages[0])
    shy = PipelineSpec(detector="pca", window_s=10.0, regimes=1, quantile=0.9, margin=1.0)
    past = [readings(name, 0, TRAINED) for name in ("pump-1", "pump-2")]
    keep(database, 2, Pipeline.fit(shy, past, PUMP, seed=3).to_package())
    publish(settings, 0, TRAINED)
    with at_work(ScorerActor(settings, database)):
        publish(settings, TRAINED, LIVE)
        until(database, scored_to(TRAINED + LIVE - 1))
        until(database, seen(1))
    with session(database) as on:
        (one,) = shadow.listed(on)

    assert (one.machine_class, one.champion, one.challenger, one.state) == ("pump", 1, 2, "scoring")
    assert 0 < one.readings <= 2 * LIVE
    assert one.machine_days == pytest.approx(one.readings * 0.5 / 86_400)
    assert one.challenger_alert_rate >= one.champion_alert_rate
    assert 0 < one.agreement <= 1
    assert one.score_drift > 0
    assert one.score_distance >= one.score_drift
    strict = Gate(min_shadow_readings=1, max_false_alarm_rate=one.challenger_alert_rate / 2)
    with pytest.raises(ConflictError, match="of the live readings"):
        registry.promote(database, None, "pump", 2, actor="a", reason="b", gate=strict)
    registry.promote(database, None, "pump", 2, actor="a", reason="forced")


def _other_sensors() -> bytes:
    kind = MachineClass(
        name="pump", sensors=tuple(Sensor(name=name) for name in SENSORS[:3]), period_s=0.5
    )
    past = [
        History(machine=one.machine, instants_us=one.instants_us, values=one.values[:, :3].copy())
        for one in (readings("pump-1", 0, TRAINED),)
    ]
    return Pipeline.fit(
        PipelineSpec(detector="pca", features="gated", window_s=10.0, regimes=1), past, kind, seed=1
    ).to_package()


@pytest.mark.parametrize("broken", ["other sensors", "no package"])
def test_a_challenger_that_fails_harms_no_verdict(
    settings: KafkaSettings,  # noqa: F811
    database: StorageSettings,
    packages: list[bytes],  # noqa: F811
    broken: str,
) -> None:
    """The failing machine still gets its incident from the champion, and why it failed is told."""
    promote(database, 1, packages[0])
    keep(database, 2, _other_sensors() if broken == "other sensors" else b"nothing")
    publish(settings, 0, TRAINED + LIVE)
    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(TRAINED + LIVE - 1))
        if broken == "other sensors":
            until(database, _said_why)
    with session(database) as on:
        found = incidents.incidents(on)
        told = anomalies.listed(on, limit=1000)

    assert [(one.machine, one.root_sensor) for one in found] == [("pump-2", "vibration")]
    assert len(told) > LIVE // 4
    with session(database) as on:
        assert shadow.listed(on) == []


def _said_why(database: StorageSettings) -> bool:
    with session(database) as on:
        return rows(
            on,
            "SELECT version, state FROM shadow_challengers WHERE note LIKE %s",
            ("%knows other sensors%",),
        ) == [(2, "failed")]


def test_a_challenger_gets_a_share_of_the_time_and_so_many_rows(
    database: StorageSettings,
    packages: list[bytes],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two runs it rests four times as long as one took; what is too much is forgotten."""
    from storage import roster_store

    with session(database) as on:
        roster_store.register_class(on, PUMP)
        roster_store.register_machines(on, ["pump-1"], "pump")
    promote(database, 1, packages[0])
    keep(database, 2, packages[1])
    served, now = Served(database), 0.0
    challengers = {"pump": _challenger(packages[1])}

    def clock() -> float:
        nonlocal now
        now += 0.5
        return now

    beside = Shadow(_Alone(served), NoMetrics(), clock)
    live = readings("pump-1", TRAINED, 40)
    views = on_stream(served, "pump-1", live).views
    ran = []
    monkeypatch.setattr(shadow, "add", lambda _on, tallies: ran.append(list(tallies)))
    with session(database) as on:
        beside.take(views, challengers)
        for _ in range(20):
            beside.run(on)
    # Each call reads the clock once, a run twice: it takes 0.5 s by this clock and rests for 2 s.
    assert 2 <= len(ran) <= 5
    monkeypatch.setattr("ray_app.shadow._MOST_ROWS", 50)
    beside.take(views, challengers)
    beside.take(views, challengers)
    assert (beside._rows, beside._waiting) == (0, [])
    served.pool.close()


def _challenger(package: bytes) -> Champion:

    return Champion(
        machine_class="pump",
        version=2,
        sha256=hashlib.sha256(package).hexdigest(),
        pipeline=Pipeline.from_package(package, "pump version 2"),
    )
