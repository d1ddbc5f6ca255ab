"""Messages in quarantine that become readings after all, and who is admitted."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from domain import wire
from domain.errors import ConflictError, NotFoundError
from domain.machines import MachineClass, Sensor
from domain.wire import Stranger
from storage import failures, quarantine, roster_store
from storage.connect import session
from storage.failures import Label
from storage.quarantine import Entry
from storage.redrive import Redriven, redrive
from storage.settings import StorageSettings
from tests.ingest_support import PUMP, START_US, batch, stored

NOW_US = START_US + 10**12


def keep(database: StorageSettings, values: list[bytes]) -> None:
    """Put messages of an unknown machine into quarantine."""
    entries = [
        Entry(
            topic_id="one",
            topic="readings",
            partition=0,
            offset=offset,
            reason="unknown_machine",
            detail="as it was then",
            key=None,
            value=value,
        )
        for offset, value in enumerate(values)
    ]
    with session(database) as on:
        assert quarantine.add(on, entries) == len(values)


def test_what_is_mended_arrives_once_and_the_rest_stays(database: StorageSettings) -> None:
    """Re-driven as often as one likes: a reading is stored once, a broken message keeps waiting."""
    made = batch(0, 0, 600)
    good = wire.encode("pump-1", made.instants_us, made.values, PUMP.sensor_names)
    keep(database, [*good, b"broken"])
    assert redrive(database, now_us=NOW_US) == Redriven(refused=601)

    with session(database) as on:
        roster_store.register_class(on, PUMP)
    assert redrive(database, now_us=NOW_US) == Redriven(stored=600, refused=1)
    assert redrive(database, now_us=NOW_US) == Redriven(refused=1)

    assert stored(database) == 600
    with session(database) as on:
        (left,) = quarantine.listed(on)
        assert quarantine.counts(on) == {"not_json": 1}
        assert len(quarantine.listed(on, open_only=False, limit=1000)) == 601
    assert left.entry.value == b"broken"


def test_only_the_named_messages_are_tried(database: StorageSettings) -> None:
    """A number that does not exist is told before anything is done."""
    made = batch(0, 0, 3)
    keep(database, wire.encode("pump-1", made.instants_us, made.values, PUMP.sensor_names))
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        numbers = [one.id for one in quarantine.listed(on)]

    with pytest.raises(NotFoundError, match="message in quarantine"):
        redrive(database, [numbers[0], 10**9], now_us=NOW_US)
    assert stored(database) == 0
    assert redrive(database, numbers[:1], now_us=NOW_US) == Redriven(stored=1)


def test_a_fleet_registered_by_many_at_once_is_registered_once(database: StorageSettings) -> None:
    """Consumers that meet the same strangers agree on their keys."""
    with session(database) as on:
        roster_store.register_class(on, PUMP)
    rows = np.array([0])
    strangers = [
        Stranger(name=f"pump-{n}", sensors=frozenset(PUMP.sensor_names), rows=rows)
        for n in range(50)
    ]
    lost = Stranger(name="lost", sensors=frozenset({"x"}), rows=rows)

    def admit(turn: int) -> dict[str, int]:
        with session(database) as on:
            roster = roster_store.load(on)
            order = strangers if turn % 2 else strangers[::-1]
            found = roster_store.admit(on, roster, [*order, lost])
            return {name: machine.key for name, machine in found.machines.items()}

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(admit, range(8))

    assert len(first) == 50
    assert all(other == first for other in others)


def test_a_class_never_loses_or_moves_a_sensor(database: StorageSettings) -> None:
    """Stored rows are columns: a smaller class is refused, bounds may change."""
    wider = MachineClass(name="pump", sensors=(*PUMP.sensors[:3], Sensor(name="s3", high=9.0)))
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        assert roster_store.register_class(on, wider) == wider
        assert roster_store.load(on).classes == {"pump": wider}
        with pytest.raises(ConflictError, match="a sensor is never removed"):
            roster_store.register_class(on, MachineClass(name="pump", sensors=PUMP.sensors[:2]))


def test_labels_are_kept_apart_and_brought_up_to_date(database: StorageSettings) -> None:
    """A failure that ends later is the same failure; a machine that is unknown has none."""
    label = Label(machine="pump-1", kind="wear", source="operator", onset_us=START_US)
    over = Label(
        machine="pump-1",
        kind="wear",
        source="operator",
        onset_us=START_US,
        end_us=START_US + 60_000_000,
        sensors=("s0",),
    )
    with session(database) as on:
        roster_store.register_class(on, PUMP)
        roster_store.register_machines(on, ["pump-1"], "pump")
        failures.add(on, [label])
        failures.add(on, [over])
        (found,) = failures.listed(on)
        assert replace(found, id=0) == over
        assert failures.listed(on, start_us=START_US + 61_000_000) == []
        assert failures.listed(on, end_us=START_US) == []
        with pytest.raises(NotFoundError):
            failures.add(on, [Label(machine="x", kind="k", source="file", onset_us=0)])
