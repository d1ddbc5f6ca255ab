"""A machine is called repaired while the stream's scorer works, over real Kafka and Postgres."""

from ingestion.settings import KafkaSettings
from ray_app.scorer_actor import ScorerActor
from storage import incidents, maintenance
from storage.connect import rows, session
from storage.history import instant
from storage.settings import StorageSettings
from tests.integration.test_scorer import (
    LIVE,
    START_US,
    TRAINED,
    at_work,
    ingest,
    packages,  # noqa: F401 - a fixture is asked for by name
    promote,
    publish,
    scored_to,
    settings,  # noqa: F401
    until,
)

_BEFORE = TRAINED + LIVE - 30


def heard(database: StorageSettings) -> bool:
    """Say whether the scorer has worked on for long enough to know the word."""
    with session(database) as on:
        return bool(
            rows(
                on,
                "SELECT FROM pipeline_rates WHERE stage = 'score' AND updated_at >"
                " (SELECT max(created_at) + interval '3 s' FROM maintenance)",
            )
        )


def test_the_word_ends_what_is_open_between_two_batches(
    settings: KafkaSettings,  # noqa: F811
    database: StorageSettings,
    packages: list[bytes],  # noqa: F811
) -> None:
    """It comes late and is heeded all the same; the state says by which level was judged."""
    promote(database, 1, packages[0])
    publish(settings, 0, _BEFORE)
    ingest(settings, database, 2 * _BEFORE)
    with at_work(ScorerActor(settings, database)):
        until(database, scored_to(_BEFORE - 1))
        with session(database) as on:
            (live,) = incidents.incidents(on, live=True)
            word = instant(START_US + (_BEFORE - 5) * 500_000)
            maintenance.repaired(on, machine="pump-2", at=word, who="ada")
        until(database, heard)
        publish(settings, _BEFORE, 30)
        until(database, scored_to(TRAINED + LIVE - 1))
    with session(database) as on:
        (known,) = incidents.incidents(on)
        states = dict(
            rows(
                on,
                "SELECT name, quality->>'note' FROM machine_states JOIN machines"
                " ON key = machine_key",
            )
        )

    assert live.machine == "pump-2"
    assert (known.id, known.state, known.close_reason) == (live.id, "closed", "repaired")
    assert known.closed == instant(START_US + _BEFORE * 500_000)
    assert "learnt anew since" in states["pump-2"]
    assert states["pump-1"] == ""
