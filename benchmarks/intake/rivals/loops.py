"""Poll and insert: executemany with 100 rows per commit, and SQLAlchemy's ORM.

`python -m benchmarks.intake.rivals.loops WAY SETTINGS` is the rival's process. Both write to the
same table as ours; a message is decoded by the standard library.
"""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg2
import sqlalchemy as sa
from confluent_kafka import Consumer
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION

from benchmarks.intake.ours import Filled, make_days
from benchmarks.intake.rivals import clock
from benchmarks.intake.site import Site, machine_keys

BATCH_SIZE = 100
_INSERT = "INSERT INTO readings (machine_key, instant, values) VALUES (%s, %s, %s)"

type Row = tuple[int, datetime, list[float]]


def measure(site: Site, topic: Filled, way: str) -> float:
    """Return readings per second of `executemany` or `orm`.

    Raises:
        RivalFailedError: Not all of them were brought.
    """
    with site.fresh() as storage:
        make_days(storage, topic.readings)
        settings = {
            "servers": site.kafka,
            "topic": topic.kafka.topic,
            "group": topic.as_new_group().group_id,
            "libpq": storage.libpq(),
            "keys": machine_keys(storage),
        }
        argv = [sys.executable, "-m", __name__, way, json.dumps(settings)]
        return clock.rate(argv, storage, "readings", topic.readings, site.folder / f"{way}.log")


def _batches(settings: dict[str, Any]) -> Iterator[list[Row]]:
    consumer = Consumer(
        {
            "bootstrap.servers": settings["servers"],
            "group.id": settings["group"],
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([settings["topic"]])
    gathered: list[Row] = []
    while True:
        message = consumer.poll(0.2)
        value = None if message is None else message.value()
        if value is not None:
            said = json.loads(value)
            gathered.append(
                (
                    settings["keys"][said["machine_id"]],
                    datetime.fromisoformat(said["timestamp"]),
                    list(said["values"].values()),
                )
            )
        if gathered and (message is None or len(gathered) == BATCH_SIZE):
            yield gathered
            gathered = []


def _executemany(settings: dict[str, Any]) -> None:
    on = psycopg2.connect(**settings["libpq"])
    for batch in _batches(settings):
        with on, on.cursor() as cursor:
            cursor.executemany(_INSERT, batch)


class _Base(orm.DeclarativeBase):
    """The tables of the ORM."""


class _Reading(_Base):
    __tablename__ = "readings"
    machine_key: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    instant: orm.Mapped[datetime] = orm.mapped_column(sa.DateTime(timezone=True), primary_key=True)
    values: orm.Mapped[list[float]] = orm.mapped_column(ARRAY(DOUBLE_PRECISION))


def _orm(settings: dict[str, Any]) -> None:
    engine = sa.create_engine(
        "postgresql+psycopg2://", creator=lambda: psycopg2.connect(**settings["libpq"])
    )
    for batch in _batches(settings):
        with orm.Session(engine) as on:
            on.add_all(
                _Reading(machine_key=key, instant=instant, values=values)
                for key, instant, values in batch
            )
            on.commit()


if __name__ == "__main__":
    {"executemany": _executemany, "orm": _orm}[sys.argv[1]](json.loads(sys.argv[2]))
