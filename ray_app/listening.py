"""Who is silent and whose sensors are ill while there is no champion yet: by what is stored.

Before the first champion the scorer reads nothing from Kafka, so that every reading since its
training can be judged once. Silence needs no verdict: a machine whose newest stored reading stays
the same has not been heard, as long as the ingestion works and has nothing before it. Nor does a
gap or a stuck sensor: the readings that were stored since the last look are looked at.
"""

from collections.abc import Iterator, Mapping

from domain.arrivals import Arrivals
from domain.conditions import StateBook, StateChanges
from domain.plain_watch import KEPT_ROWS, PlainWatch
from domain.readings import widened
from domain.roster import Roster
from storage import history, rates, roster_store, sensor_states
from storage.connect import Connection

_BACK_US = 600_000_000
"""What was stored longer before a machine's newest reading, and not seen then, is left out."""

_LITTLE = 100
"""With no more messages behind than this everybody was heard."""


class Listener:
    """Looks again and again; for one thread.

    Args:
        on: A session, for what is stored already.
        now_us: The present, by the clock on the wall.
    """

    def __init__(self, on: Connection, now_us: int) -> None:
        self._book = StateBook(sensor_states.every(on))
        self._arrivals = Arrivals(sensor_states.silent_since(on), now_us)
        self._silent = frozenset(sensor_states.silent_since(on))
        self._newest: dict[str, int] | None = None
        self._watch = PlainWatch(self._book)

    def look(self, on: Connection, now_us: int) -> None:
        """Write who is silent now and whose sensors are ill, in the caller's transaction."""
        roster, newest = roster_store.load(on), history.latest_instants(on)
        for name, at_us in newest.items():
            machine = roster.machines.get(name)
            if machine is not None and self._is_heard(machine.key, name, at_us):
                self._arrivals.note(machine.key, at_us, now_us)
        self._newest = newest
        periods_s = {
            key: roster.classes[one.machine_class].period_s for key, one in roster.by_key.items()
        }
        changes = self._arrivals.tick(
            self._book, periods_s, now_us=now_us, caught_up=_caught_up(on)
        )
        sensor_states.write(on, (*self._sensors(on, roster, newest), *changes))

    def _sensors(
        self, on: Connection, roster: Roster, newest: Mapping[str, int]
    ) -> Iterator[StateChanges]:
        """Look at what was stored since the last look, of each class at once."""
        due: dict[tuple[str, bool], dict[str, int]] = {}
        for name, at_us in newest.items():
            machine = roster.machines.get(name)
            if machine is None:
                continue
            seen_us = self._watch.newest_us(machine.machine_class, machine.key)
            if seen_us is None or seen_us < at_us:
                since_us = 0 if seen_us is None else max(seen_us + 1, at_us - _BACK_US)
                due.setdefault((machine.machine_class, seen_us is None), {})[name] = since_us
        for (kind_name, _), since in due.items():
            kind, names = roster.classes[kind_name], list(since)
            end_us = max(newest[name] for name in names) + 1
            found = history.read_history(on, names, min(since.values()), end_us, last=KEPT_ROWS)
            for one in found:
                if len(one):
                    key, values = roster.machines[one.machine].key, one.values
                    yield self._watch.see(
                        key, kind, one.instants_us, widened(values, len(kind.sensors))
                    )

    def _is_heard(self, key: int, name: str, newest_us: int) -> bool:
        if self._newest is None:
            # What lies there may have come this moment; who was silent before stays so.
            return key not in self._silent
        return self._newest.get(name) != newest_us


def _caught_up(on: Connection) -> bool:
    """Say whether the ingestion works and nothing waits: else we are deaf, and nobody is silent."""
    lags = [one.lag for one in rates.current(on) if one.stage == "consume"]
    return bool(lags) and all(lag is not None and lag <= _LITTLE for lag in lags)
