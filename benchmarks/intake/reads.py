"""One hour of 50 machines into numpy: ours, pandas.read_sql, and COPY TO alone."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import sqlalchemy as sa

from benchmarks.intake import workload
from benchmarks.intake.filling import fill
from benchmarks.intake.site import Site, machine_keys
from domain.readings import Matrix
from storage import history
from storage.connect import connect, session

HOUR_US = 3_600_000_000
COUNT = workload.MACHINES * HOUR_US // workload.PERIOD_US
"""Readings of the hour that is read; as many lie before it and as many after it."""


class Reads:
    """Measures all ways over one database that stays.

    Args:
        site: Where.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._storage = site, site.database()
        fill(self._storage, 3 * COUNT, until_us=workload.START_US + 2 * HOUR_US)
        keys = ",".join(str(key) for key in machine_keys(self._storage).values())
        begin, end = (
            history.instant(at).isoformat()
            for at in (workload.START_US, workload.START_US + HOUR_US)
        )
        self._query = (
            "SELECT machine_key, instant, values FROM readings "
            f"WHERE machine_key = ANY('{{{keys}}}') AND instant >= '{begin}' AND instant < '{end}'"
        )

    def measure(self) -> dict[str, float | None]:
        """Return readings per second of each way."""
        return {
            "read": _rate(self._ours),
            "read_sql": _rate(self._pandas),
            "copy_to": COUNT / self._copy_s(),
        }

    def _ours(self) -> list[Matrix]:
        with session(self._storage) as on:
            found = history.read_history(
                on, workload.NAMES, workload.START_US, workload.START_US + HOUR_US
            )
        return [one.values for one in found]  # noqa: PD011 - no pandas

    def _pandas(self) -> list[Matrix]:
        engine = sa.create_engine("postgresql+psycopg2://", creator=lambda: connect(self._storage))
        try:
            with engine.connect() as on:
                frame = pd.read_sql(sa.text(self._query.replace(":", "\\:")), on)
        finally:
            engine.dispose()
        return [np.array(frame["values"].tolist())]

    def _copy_s(self) -> float:
        command = f"\\copy ({self._query}) TO '/dev/null' WITH (FORMAT binary)"
        return self._site.psql_s(self._storage, command)


def _rate(read: Callable[[], list[Matrix]]) -> float:
    began = time.perf_counter()
    found = read()
    seconds = time.perf_counter() - began
    shape = (sum(len(one) for one in found), found[0].shape[1])
    if shape != (COUNT, workload.SENSORS):
        raise ValueError(f"{shape} was read instead of {(COUNT, workload.SENSORS)}")
    return COUNT / seconds
