"""From raw messages to readings of known machines: decode, admit strangers, decode those again."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from domain.machines import Machine, MachineClass, Sensor
from domain.readings import ReadingBatch
from domain.roster import Roster
from domain.wire import Decoded, RawBatch, Rejection, RejectReason, Stranger, decode
from storage import roster_store
from storage.connect import Connection, translated

_GREETING = RawBatch(
    topic="",
    partitions=np.zeros(1, np.int32),
    offsets=np.zeros(1, np.int64),
    keys=[b"nobody"],
    values=[b'{"machine_id":"nobody","timestamp":"2000-01-01T00:00:00Z","values":{"x":1.5}}'],
)

_GREETED = Roster.of(
    [MachineClass(name="nobody", sensors=(Sensor(name="x"),))],
    [Machine(key=0, name="nobody", machine_class="nobody")],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """A batch of messages; every message is in exactly one of the two.

    Attributes:
        readings: In arrival order within a machine.
        rejections: Ascending by index.
        origins: Only of mapped messages: for each of `readings`, shape (n, sensors), the message
            each value came from, -1 where it is missing.
    """

    readings: tuple[ReadingBatch, ...]
    rejections: tuple[Rejection, ...]
    origins: tuple[npt.NDArray[np.intp], ...] = ()


class Reads(Protocol):
    """Reads messages: `Intake` those of value v1, `MappedIntake` those of another shape."""

    def sort(self, raw: RawBatch, *, now_us: int) -> Sorted:
        """Return what a batch says."""


class Intake:
    """Knows the roster and keeps it up to date; for one thread.

    Args:
        on: A connection of its own, used only when a message does not fit the roster.
    """

    def __init__(self, on: Connection) -> None:
        self._on = on
        with translated(), on:
            self.roster = roster_store.load(on)
        # The decoder is compiled, or its compiled code loaded, at its first message: better now
        # than while a group waits for the first batch.
        decode(_GREETING, _GREETED, now_us=0)

    def sort(self, raw: RawBatch, *, now_us: int) -> Sorted:
        """Decode a batch.

        Whatever the roster of this process does not explain is held against the database before
        it is rejected: a machine, a class or a sensor may have been registered a moment ago.

        Args:
            raw: The messages.
            now_us: The present, microseconds UTC.

        Raises:
            ServiceUnavailableError: The server went away while strangers were looked up.
        """
        first = decode(raw, self.roster, now_us=now_us)
        again = _unexplained(first)
        if not len(again):
            return Sorted(readings=first.readings, rejections=first.rejections)
        with translated(), self._on:
            self.roster = roster_store.with_classes_of_today(self._on, self.roster)
            strangers = [self._at_its_best(raw, one, now_us) for one in first.strangers]
            self.roster = roster_store.admit(self._on, self.roster, strangers)
        second = decode(raw.take(again), self.roster, now_us=now_us)
        kept = [one for one in first.rejections if one.reason is not RejectReason.UNKNOWN_SENSOR]
        late = [
            Rejection(index=int(again[one.index]), reason=one.reason, detail=one.detail)
            for one in second.rejections
        ]
        unknown = [one for stranger in second.strangers for one in _turned_away(stranger, again)]
        return Sorted(
            readings=first.readings + second.readings,
            rejections=tuple(sorted(kept + late + unknown, key=lambda one: one.index)),
        )

    def _at_its_best(self, raw: RawBatch, stranger: Stranger, now_us: int) -> Stranger:
        """Return a stranger with the sensors of a message that fits a class, if there is one.

        All messages of a batch together name a machine's sensors when each names a part of them;
        but one message with a wrong sensor among them must not keep the machine out.
        """
        if self.roster.match_class(stranger.sensors) is not None:
            return stranger
        for row in stranger.rows:
            alone = decode(raw.take(np.array([row])), self.roster, now_us=now_us).strangers
            if alone and self.roster.match_class(alone[0].sensors) is not None:
                return Stranger(name=stranger.name, sensors=alone[0].sensors, rows=stranger.rows)
        return stranger


def _unexplained(decoded: Decoded) -> npt.NDArray[np.intp]:
    lost = [stranger.rows for stranger in decoded.strangers]
    odd = [one.index for one in decoded.rejections if one.reason is RejectReason.UNKNOWN_SENSOR]
    return np.sort(np.concatenate([*lost, np.array(odd, dtype=np.intp)]))


def _turned_away(stranger: Stranger, rows: npt.NDArray[np.intp]) -> list[Rejection]:
    detail = (
        f"machine {stranger.name} is not registered and its {len(stranger.sensors)} sensors are "
        "not those of exactly one machine class: register the machine or its class, then re-drive"
    )
    return [
        Rejection(index=int(row), reason=RejectReason.UNKNOWN_MACHINE, detail=detail)
        for row in rows[stranger.rows]
    ]
