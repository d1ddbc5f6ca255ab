"""The registry as Postgres holds it, for whoever scores: replicas and the stream's scorer."""

from collections.abc import Mapping

from domain.care import Care
from domain.readings import History
from domain.risk.steps import LOOK_BACK
from domain.roster import Roster
from ray_app.beginnings import StoredReadings
from storage import (
    api_keys,
    care,
    history,
    models,
    risk_models,
    roster_store,
    steps,
)
from storage.pool import Pool

_BACK_US = 24 * 3_600_000_000
"""Older readings than a day before a window say nothing about it."""


class PostgresRegistry:
    """Champions, roster, past readings and keys, each asked in a transaction of its own.

    Args:
        pool: Connections.
        consumer: Who refuses a model, for the history of models.
    """

    def __init__(self, pool: Pool, consumer: str) -> None:
        self._pool, self._consumer = pool, consumer

    def roster(self) -> Roster:
        """Return machines and classes."""
        with self._pool.session() as on:
            return roster_store.load(on)

    def versions(self) -> Mapping[str, tuple[int, str]]:
        """Return machine class → version and checksum of its champion."""
        with self._pool.session() as on:
            return models.versions(on)

    def care(self) -> Mapping[str, Care]:
        """Return machine → what is its own."""
        with self._pool.session() as on:
            return care.care(on)

    def challengers(self) -> Mapping[str, tuple[int, str]]:
        """Return machine class → version and checksum of who is to score in shadow."""
        with self._pool.session() as on:
            return models.challengers(on)

    def first_us(self, machine: str) -> int | None:
        """Return the instant of a machine's oldest stored reading; None if it has none."""
        with self._pool.session() as on:
            return history.first_instant(on, machine)

    def package(self, machine_class: str, version: int) -> bytes:
        """Return a version's package.

        Raises:
            ModelRejectedError: It does not match its checksum.
        """
        with self._pool.session() as on:
            return models.get(on, machine_class, version).package

    def risks(self) -> Mapping[str, tuple[int, str]]:
        """Return machine class → version and checksum of its risk model."""
        with self._pool.session() as on:
            return risk_models.versions(on)

    def risk_package(self, machine_class: str, version: int) -> bytes:
        """Return a risk model's package.

        Raises:
            ModelRejectedError: It does not match its checksum.
        """
        with self._pool.session() as on:
            return risk_models.package(on, machine_class, version)

    def refuse(self, machine_class: str, version: int, reason: str) -> None:
        """Note in the history of models that a promoted version could not be loaded."""
        with self._pool.session() as on:
            models.refuse(on, machine_class, version, actor=self._consumer, reason=reason)

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return at most `rows` newest readings of a machine before an instant."""
        with self._pool.session() as on:
            start_us = instant_us - _BACK_US
            return history.read_history(on, [machine], start_us, instant_us, last=rows)[0]

    def since(self, machine: str, from_us: int, before_us: int, rows: int) -> History:
        """Return at most `rows` oldest readings of a machine from an instant up to another."""
        with self._pool.session() as on:
            return StoredReadings(on).since(machine, from_us, before_us, rows)

    def newest(self, machine: str, rows: int) -> History:
        """Return at most `rows` newest stored readings of a machine, none older than a day."""
        with self._pool.session() as on:
            last_us = history.latest_instants(on, [machine]).get(machine, 0)
            start_us = last_us - _BACK_US
            return history.read_history(on, [machine], start_us, last_us + 1, last=rows)[0]

    def steps(self, machine: str, before_us: int, step_us: int) -> tuple[History, History]:
        """Return whole steps of a machine before an instant, and the readings behind them."""
        begin_us = before_us - before_us % step_us
        with self._pool.session() as on:
            start_us = max(0, begin_us - LOOK_BACK * step_us)
            whole = steps.read(on, [machine], start_us, begin_us, step_us=step_us)[0]
            head = history.read_history(on, [machine], begin_us, before_us)[0]
        return whole, head

    def holder_of(self, key: str) -> api_keys.Holder | None:
        """Return who holds a key."""
        with self._pool.session() as on:
            return api_keys.holder_of(on, key)
