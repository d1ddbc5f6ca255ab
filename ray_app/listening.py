"""Who is silent while there is no champion yet: by what arrives in Postgres, without a model.

Before the first champion the scorer reads nothing from Kafka, so that every reading since its
training can be judged once. Silence needs no verdict: a machine whose newest stored reading stays
the same has not been heard, as long as the ingestion works and has nothing before it.
"""

from domain.arrivals import Arrivals
from domain.conditions import StateBook
from storage import history, rates, roster_store, sensor_states
from storage.connect import Connection

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

    def look(self, on: Connection, now_us: int) -> None:
        """Write who is silent now, in the caller's transaction."""
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
        sensor_states.write(on, changes)

    def _is_heard(self, key: int, name: str, newest_us: int) -> bool:
        if self._newest is None:
            # What lies there may have come this moment; who was silent before stays so.
            return key not in self._silent
        return self._newest.get(name) != newest_us


def _caught_up(on: Connection) -> bool:
    """Say whether the ingestion works and nothing waits: else we are deaf, and nobody is silent."""
    lags = [one.lag for one in rates.current(on) if one.stage == "consume"]
    return bool(lags) and all(lag is not None and lag <= _LITTLE for lag in lags)
