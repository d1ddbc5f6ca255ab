"""The states of sensors in a real Postgres."""

from contextlib import closing

import pytest

from domain.arrivals import Arrivals
from domain.conditions import Condition, SensorState, StateBook, StateChanges
from domain.errors import ServiceUnavailableError
from domain.readings import History
from ingestion.consume import wall_clock_us
from ray_app.judge import Judge
from ray_app.scorer_work import ScorerWork
from storage import fleet, roster_store, sensor_states, verdicts
from storage.connect import Connection, connect, rows, session
from storage.intake import Intake
from storage.offsets import Topic
from storage.settings import StorageSettings
from tests.ingest_support import PUMP

T0_US = 1_750_000_000_000_000


@pytest.fixture
def machine(database: StorageSettings) -> int:
    """Return the key of pump-1."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        return roster_store.register_machines(on, ["pump-1"], PUMP.name)["pump-1"].key


def state(machine: int, sensor: str, condition: Condition, last_s: int) -> SensorState:
    """Return a state since T0."""
    return SensorState(
        machine_key=machine,
        sensor=sensor,
        condition=condition,
        since_us=T0_US,
        last_seen_us=T0_US + last_s * 1_000_000,
    )


def test_a_state_is_kept_once_goes_on_and_is_taken_away(
    database: StorageSettings, machine: int
) -> None:
    """What is written twice, as after a crash, is there once."""
    stuck = state(machine, "s1", Condition.STUCK, 5)
    gap = state(machine, "", Condition.GAP, 7)
    later = state(machine, "s1", Condition.STUCK, 15)
    with session(database) as on:
        for _ in range(2):
            sensor_states.write(on, [StateChanges(present=(stuck, gap))])
        assert sensor_states.every(on) == (gap, stuck)
        shown = fleet.machines(on)[0].conditions
        sensor_states.write(on, [StateChanges(present=(later,), ended=(gap,))])
        assert sensor_states.every(on) == (later,)
        sensor_states.write(on, [StateChanges(ended=(later,)), StateChanges(present=(gap,))])
        assert sensor_states.every(on) == (gap,)

    assert [(one["sensor"], one["condition"]) for one in shown] == [("", "gap"), ("s1", "stuck")]


def test_a_silent_machine_was_heard_before_its_silence(
    database: StorageSettings, machine: int
) -> None:
    """Any other one when its state was last written; one that was never scored is not known."""
    with session(database) as on:
        assert sensor_states.heard_before(on) == {}
        verdicts.write_states(
            on,
            [
                verdicts.State(
                    machine_key=machine, instant_us=T0_US, score=0.1, model_version=1, quality={}
                )
            ],
        )
        written_us = rows(
            on, "SELECT (extract(epoch FROM updated_at) * 1e6)::bigint FROM machine_states"
        )[0][0]
        assert sensor_states.heard_before(on) == {machine: written_us}
        silent = state(machine, "", Condition.SILENT, 60)
        sensor_states.write(on, [StateChanges(present=(silent,))])
        assert sensor_states.heard_before(on) == {machine: T0_US}


def test_a_state_cannot_end_before_it_began(database: StorageSettings, machine: int) -> None:
    """The table itself refuses it."""
    wrong = state(machine, "s1", Condition.STUCK, -1)
    with pytest.raises(Exception, match="order"), session(database) as on:
        sensor_states.write(on, [StateChanges(present=(wrong,))])


class _NoPast:
    """A scorer that has nothing to look back on."""

    def first_us(self, machine: str) -> None:
        """Return that there is none."""

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return no readings."""
        raise AssertionError((machine, instant_us, rows))

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return no readings."""
        del from_us
        return self.before(machine, before_us, rows)

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Return nothing: the class has no risk model."""
        raise AssertionError((machine, before_us, step_us))


def test_while_kafka_is_away_nobody_is_called_silent(
    database: StorageSettings, machine: int
) -> None:
    """Before the first silence is written Kafka is asked; where it is there, silence is stored."""
    long_ago_us = wall_clock_us() - 3_600_000_000
    asked: list[str] = []

    def away() -> None:
        raise ServiceUnavailableError("Kafka", "it does not answer")

    def work(on: Connection) -> ScorerWork:
        book = StateBook()
        return ScorerWork(
            judge=Judge(_NoPast(), (), {}, book),
            intake=Intake(lookup),
            on=on,
            topic=Topic(name="t", id="t"),
            arrivals=Arrivals({machine: long_ago_us}, long_ago_us),
            book=book,
        )

    with closing(connect(database)) as lookup:
        with pytest.raises(ServiceUnavailableError), session(database) as on:
            work(on).tick(away, caught_up=True)
        with session(database) as on:
            assert sensor_states.every(on) == ()
            work(on).tick(lambda: asked.append("Kafka"), caught_up=True)
            (silent,) = sensor_states.every(on)

    assert (silent.condition, silent.since_us) == (Condition.SILENT, long_ago_us)
    assert asked == ["Kafka"]
