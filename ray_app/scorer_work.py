"""What one run of the scorer holds in its hands."""

from collections.abc import Callable, Iterator
from time import monotonic

import numpy as np

from domain.arrivals import Arrivals
from domain.conditions import Condition, StateBook, StateChanges
from domain.incidents import Change, IncidentRules
from domain.plain_watch import PlainWatch
from domain.readings import ReadingBatch
from ingestion.consume import wall_clock_us
from ray_app.champions import Champions
from ray_app.judge import Judge
from ray_app.judged import Verdicts
from storage import endings, movements, offsets, sensor_states, verdicts
from storage.connect import Connection, translated
from storage.intake import Intake
from storage.offsets import Advance, Topic

_REST = 20.0
"""After a look at all machines so many times its duration passes: 5 % of the time at the most."""


_MUTE_S = 600.0
"""A machine that has been silent for so long keeps no incident open: it went away with its trouble,
which is told by its silence from then on."""


class ScorerWork:
    """Decodes, judges and writes; to be dropped as a whole after a fault."""

    def __init__(  # noqa: PLR0913 - what it holds
        self,
        *,
        judge: Judge,
        intake: Intake,
        on: Connection,
        topic: Topic,
        arrivals: Arrivals,
        book: StateBook,
    ) -> None:
        self.intake, self.on = intake, on
        self._judge, self._topic = judge, topic
        self._arrivals, self._book = arrivals, book
        self._look_at = 0.0
        self._plain = PlainWatch(book)

    def judge_all(self, batches: tuple[ReadingBatch, ...], champions: Champions) -> Verdicts:
        """Score batches of several classes."""
        total, known = Verdicts(), champions.known
        machines, now_us = self.intake.roster.by_key, wall_clock_us()
        for batch in batches:
            self._arrivals.hear(batch, now_us)
            champion = known.champions.get(batch.machine_class.name)
            total.add(self._judge.judge(batch, machines, champion, known.care))
            if champion is None:
                total.conditions += self._sensors_of(batch)
            else:
                self._plain.forget(batch.machine_class.name)
        return total

    def _sensors_of(self, batch: ReadingBatch) -> Iterator[StateChanges]:
        """Look at readings that no champion judges: sensors need none."""
        order = np.argsort(batch.machine_keys, kind="stable")
        keys, starts = np.unique(batch.machine_keys[order], return_index=True)
        for key, rows in zip(keys.tolist(), np.split(order, starts[1:]), strict=True):
            yield self._plain.see(
                key, batch.machine_class, batch.instants_us[rows], batch.values[rows]
            )

    def tick(self, confirm: Callable[[], None], *, caught_up: bool) -> None:
        """Write who is silent now and whose clock is off; in the caller's transaction.

        Args:
            confirm: Raises when Kafka is away: then nobody is silent, we are deaf.
            caught_up: Whether nothing waits to be read.

        Raises:
            ServiceUnavailableError: Kafka or Postgres is away.
        """
        began = monotonic()
        if began < self._look_at:
            return
        roster = self.intake.roster
        periods_s = {
            key: roster.classes[one.machine_class].period_s for key, one in roster.by_key.items()
        }
        changes = self._arrivals.tick(
            self._book, periods_s, now_us=wall_clock_us(), caught_up=caught_up
        )
        if any(one.condition is Condition.SILENT for two in changes for one in two.present):
            confirm()
        sensor_states.write(self.on, changes)
        if caught_up:
            self._close_silent()
        now = monotonic()
        self._look_at = now + _REST * (now - began)

    def _close_silent(self) -> None:
        quiet_s = IncidentRules().quiet_s
        for key, kind in endings.close_silent(self.on, after_s=_MUTE_S, quiet_s=quiet_s):
            self._judge.forget_incident(key, kind)

    def commit(self, found: Verdicts, group_id: str, steps: tuple[Advance, ...]) -> None:
        """Write verdicts and the offsets behind them as one."""
        closed_by_people: list[verdicts.Incident] = []
        with translated(), self.on:
            for one in found.changes:
                if one.change is Change.OPENED:
                    verdicts.open_incident(self.on, one.incident)
                elif not verdicts.update_incident(self.on, one.incident):
                    closed_by_people.append(one.incident)
            verdicts.write_anomalies(self.on, found.anomalies)
            verdicts.write_states(self.on, found.states)
            sensor_states.write(self.on, found.conditions)
            movements.write(self.on, found.movements)
            offsets.advance(self.on, group_id, self._topic, steps)
        for incident in closed_by_people:
            self._judge.forget_incident(incident.machine_key, incident.kind)
