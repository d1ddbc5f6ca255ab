"""What is reported: the keys, what is wanted of each, and medians of what rounds measured."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

type Round = Mapping[str, float | None]
"""What one round measured; None where it could not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A figure of the report.

    Attributes:
        wanted: The goal.
        at_least: Whether more is better than `wanted`; else less is.
        meaning: What it is, in a line.
    """

    wanted: float
    at_least: bool = True
    meaning: str

    def is_reached(self, value: float) -> bool:
        """Say whether a measured figure is as wanted."""
        return value >= self.wanted if self.at_least else value <= self.wanted


KEYS = {
    "json_readings_per_s": Key(wanted=200_000, meaning="Kafka to committed rows, JSON"),
    "json_vs_decode": Key(wanted=0.8, meaning="… against the fastest decoder alone, one core"),
    "compact_vs_copy": Key(wanted=0.6, meaning="packed, against psql's binary COPY from a file"),
    "vs_connect_jdbc": Key(wanted=15, meaning="× Kafka Connect with Debezium's JDBC sink"),
    "vs_connect_jdbc_tuned": Key(wanted=5, meaning="… batches of 5,000 and unnest"),
    "vs_executemany_100": Key(wanted=30, meaning="× poll and executemany of 100 per commit"),
    "vs_orm": Key(wanted=25, meaning="× SQLAlchemy's ORM, add_all"),
    "vs_quix": Key(wanted=10, meaning="× Quix Streams' Postgres sink"),
    "exactly_once_cost": Key(
        wanted=0.10, at_least=False, meaning="share lost against unsafe auto-commit"
    ),
    "ray_actor_cost": Key(
        wanted=0.05, at_least=False, meaning="share lost in a Ray actor against a process"
    ),
    "rate_100m_vs_1m": Key(wanted=0.9, meaning="rate with many readings stored, against 1 M"),
    "memory_growth": Key(
        wanted=0.05, at_least=False, meaning="resident memory gained after the first fifth"
    ),
    "lag_drain": Key(wanted=2, meaning="readings/s while a backlog drains, against arrivals"),
    "read_vs_read_sql": Key(wanted=3, meaning="an hour of 50 machines, × pandas.read_sql"),
    "read_vs_copy": Key(wanted=0.5, meaning="… against COPY TO alone"),
    "producer_vs_bare": Key(wanted=0.7, meaning="columns to Kafka, against sending ready bytes"),
}
"""Every key is in the last line, null where it was not measured."""


def ratio(ours: float | None, other: float | None) -> float | None:
    """Return how many times the other's figure ours is, None unless both are there."""
    return None if ours is None or not other else ours / other


def lost(with_it: float | None, without: float | None) -> float | None:
    """Return the share of a rate that something costs; negative where the noise was larger."""
    found = ratio(with_it, without)
    return None if found is None else 1 - found


def ratios(rates: Round) -> dict[str, float | None]:
    """Return the keys of one round from the rates it measured, readings per second."""
    ours, rate = rates.get("json"), rates.get
    return {
        "json_readings_per_s": ours,
        "json_vs_decode": ratio(ours, rate("decode")),
        "compact_vs_copy": ratio(rate("packed"), rate("copy")),
        "vs_connect_jdbc": ratio(ours, rate("connect_jdbc")),
        "vs_connect_jdbc_tuned": ratio(ours, rate("connect_jdbc_tuned")),
        "vs_executemany_100": ratio(ours, rate("executemany_100")),
        "vs_orm": ratio(ours, rate("orm")),
        "vs_quix": ratio(ours, rate("quix")),
        "exactly_once_cost": lost(ours, rate("unsafe")),
        "ray_actor_cost": lost(rate("ray_actor"), ours),
        "rate_100m_vs_1m": ratio(rate("packed_large"), rate("packed_small")),
        "memory_growth": rate("memory_growth"),
        "lag_drain": ratio(rate("drained"), rate("arriving")),
        "read_vs_read_sql": ratio(rate("read"), rate("read_sql")),
        "read_vs_copy": ratio(rate("read"), rate("copy_to")),
        "producer_vs_bare": ratio(rate("produced"), rate("produced_bare")),
    }


def medians(rounds: Sequence[Round]) -> dict[str, float | None]:
    """Return the median of each key over the rounds that have it."""
    names = {name: None for one in rounds for name in one}
    found = {name: [v for one in rounds if (v := one.get(name)) is not None] for name in names}
    return {name: statistics.median(seen) if seen else None for name, seen in found.items()}


def table(summary: Round) -> str:
    """Return the keys for a reader: figure, goal, whether it is reached."""
    lines = []
    for name, key in KEYS.items():
        value, sign = summary.get(name), "≥" if key.at_least else "≤"
        said = "not measured" if value is None else f"{value:,.3f}"
        verdict = "" if value is None else " ok" if key.is_reached(value) else " NOT REACHED"
        lines.append(f"{name:24}{said:>16}  {sign} {key.wanted:g}{verdict}  {key.meaning}")
    return "\n".join(lines)


def last_line(summary: Round) -> str:
    """Return all keys, and no other, as one JSON object."""
    rounded = {
        name: None if (value := summary.get(name)) is None else round(value, 3) for name in KEYS
    }
    return json.dumps(rounded)
