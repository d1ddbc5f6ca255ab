"""From messages of another shape to readings of known machines."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from domain.machines import MachineClass
from domain.mapping import Gathered, Mapping, gather, translate
from domain.mapping.gather import NOBODY
from domain.readings import Keys, ReadingBatch
from domain.wire import RawBatch, Rejection, RejectReason
from storage import mappings, roster_store
from storage.connect import Connection, translated
from storage.intake import Intake, Reads, Sorted


class MappedIntake:
    """Reads messages by a mapping; admits machines it meets into the mapping's class.

    For one thread.

    Args:
        on: A connection of its own.
        mapping: How to read the messages.
        topic: Whose messages; the mapping is kept under this name.
    """

    def __init__(self, on: Connection, mapping: Mapping, topic: str) -> None:
        self._on, self._mapping = on, mapping
        with translated(), on:
            mappings.register(on, topic, mapping)
            self.roster = roster_store.load(on)

    def sort(self, raw: RawBatch, *, now_us: int) -> Sorted:
        """Read a batch; `origins` of what comes back says which message gave each value.

        Args:
            raw: The messages.
            now_us: The present, microseconds UTC.

        Raises:
            ServiceUnavailableError: The server went away while machines were admitted.
        """
        sensors = self._mapping.sensor_names
        found = gather(translate(raw, self._mapping, now_us=now_us), sensors)
        self._admit(found.machines)
        strange = self._strange(found)
        if strange:
            found = _without(found, list(strange))
        by_class: dict[str, list[int]] = {}
        members = [self.roster.machines[name] for name in found.machines]
        for row, machine in enumerate(members):
            by_class.setdefault(machine.machine_class, []).append(row)
        keys = np.array([machine.key for machine in members], dtype=np.int32)
        spread = [
            _spread(found, keys, self.roster.classes[name], sensors, np.array(picked))
            for name, picked in by_class.items()
        ]
        # A message is in quarantine once, whatever is wrong with it.
        rejections = {one.index: one for one in found.rejections} | strange
        return Sorted(
            readings=tuple(batch for batch, _ in spread),
            origins=tuple(origins for _, origins in spread),
            rejections=tuple(rejections[index] for index in sorted(rejections)),
        )

    def _admit(self, names: list[str]) -> None:
        new = sorted(set(names) - self.roster.machines.keys())
        if not new:
            return
        with translated(), self._on:
            # Some may be there already, even of another class: those stay what they are.
            known = roster_store.admit_to(self._on, new, self._mapping.class_name)
            today = roster_store.with_classes_of_today(self._on, self.roster)
        self.roster = today.with_machines(known)

    def _strange(self, found: Gathered) -> dict[int, Rejection]:
        """Return messages with a value that their machine's class has no column for."""
        names = self._mapping.sensor_names
        lacking: dict[str, list[int]] = {}
        for name in set(found.machines):
            columns = self.roster.class_of(self.roster.machines[name]).position
            lacking[name] = [at for at, sensor in enumerate(names) if sensor not in columns]
        strange: dict[int, Rejection] = {}
        for row, name in enumerate(found.machines):
            for at in lacking[name]:
                index = int(found.origins[row, at])
                if index != NOBODY:
                    strange[index] = Rejection(
                        index=index,
                        reason=RejectReason.UNKNOWN_SENSOR,
                        detail=f"machine {name} is of class "
                        f"{self.roster.machines[name].machine_class}, which has no sensor "
                        f"{names[at]}",
                    )
        return strange


def intake_for(mapping: Mapping | None, topic: str) -> Callable[[Connection], Reads]:
    """Return what makes a reader of a topic's messages."""
    if mapping is None:
        return Intake
    return lambda on: MappedIntake(on, mapping, topic)


def _without(found: Gathered, indices: list[int]) -> Gathered:
    """Return the readings without the values of the named messages."""
    gone = np.isin(found.origins, indices)
    values = np.where(gone, np.nan, found.values)
    kept = np.flatnonzero(~np.isnan(values).all(axis=1))
    return Gathered(
        machines=[found.machines[row] for row in kept.tolist()],
        instants_us=found.instants_us[kept],
        values=values[kept],
        origins=np.where(gone, NOBODY, found.origins)[kept],
        rejections=found.rejections,
    )


def _spread(
    found: Gathered,
    keys: Keys,
    machine_class: MachineClass,
    sensors: tuple[str, ...],
    picked: npt.NDArray[np.intp],
) -> tuple[ReadingBatch, npt.NDArray[np.intp]]:
    """Return rows in the columns of a class, and the message each value came from."""
    values = np.full((len(picked), len(machine_class.sensors)), np.nan)
    origins = np.full(values.shape, NOBODY, dtype=np.intp)
    for at, name in enumerate(sensors):
        column = machine_class.position.get(name)
        if column is not None:
            values[:, column] = found.values[picked, at]
            origins[:, column] = found.origins[picked, at]
    batch = ReadingBatch(
        machine_class=machine_class,
        machine_keys=keys[picked],
        instants_us=found.instants_us[picked],
        values=values,
    )
    return batch, origins
