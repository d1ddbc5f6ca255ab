"""The report of `make bench-ingest`: its last line is read by others, so its keys are fixed."""

import json

import pytest

from benchmarks.intake import report


def test_the_last_line_has_exactly_the_keys_that_were_agreed() -> None:
    """Whoever reads the figures finds each key, also where nothing was measured."""
    line = json.loads(report.last_line({}))

    assert list(line) == [
        "json_readings_per_s",
        "json_vs_decode",
        "compact_vs_copy",
        "vs_connect_jdbc",
        "vs_connect_jdbc_tuned",
        "vs_executemany_100",
        "vs_orm",
        "vs_quix",
        "exactly_once_cost",
        "ray_actor_cost",
        "rate_100m_vs_1m",
        "memory_growth",
        "lag_drain",
        "read_vs_read_sql",
        "read_vs_copy",
        "producer_vs_bare",
    ]
    assert set(line.values()) == {None}


RATES = {
    "json": 200.0,
    "decode": 250.0,
    "packed": 300.0,
    "copy": 400.0,
    "connect_jdbc": 10.0,
    "connect_jdbc_tuned": 40.0,
    "executemany_100": 5.0,
    "orm": 8.0,
    "quix": 16.0,
    "unsafe": 250.0,
    "ray_actor": 190.0,
    "packed_small": 300.0,
    "packed_large": 270.0,
    "drained": 150.0,
    "arriving": 50.0,
    "read": 900.0,
    "read_sql": 100.0,
    "copy_to": 1000.0,
    "produced": 80.0,
    "produced_bare": 100.0,
}


def test_a_round_is_compared_with_itself() -> None:
    """Every ratio has ours above and the other below; a cost is the share that is lost."""
    found = report.ratios(RATES)

    assert found.keys() == report.KEYS.keys()
    assert found.pop("memory_growth") is None
    assert found == pytest.approx(
        {
            "json_readings_per_s": 200,
            "json_vs_decode": 0.8,
            "compact_vs_copy": 0.75,
            "vs_connect_jdbc": 20,
            "vs_connect_jdbc_tuned": 5,
            "vs_executemany_100": 40,
            "vs_orm": 25,
            "vs_quix": 12.5,
            "exactly_once_cost": 0.2,
            "ray_actor_cost": 0.05,
            "rate_100m_vs_1m": 0.9,
            "lag_drain": 3,
            "read_vs_read_sql": 9,
            "read_vs_copy": 0.9,
            "producer_vs_bare": 0.8,
        }
    )


def test_a_rival_that_did_not_start_leaves_its_key_empty() -> None:
    """What was not measured is null and never a guess; the median is of what there is."""
    rounds = [report.ratios(RATES | {"quix": None}), report.ratios(RATES | {"quix": 20.0})]
    without = report.ratios({name: rate for name, rate in RATES.items() if name != "orm"})

    assert report.medians(rounds)["vs_quix"] == 10
    assert report.medians([without])["vs_orm"] is None


def test_the_table_says_what_is_reached() -> None:
    """A figure below its goal is told as such, a cost above it as well."""
    lines = report.table({"json_vs_decode": 0.5, "exactly_once_cost": 0.2, "vs_orm": 25.0})

    verdicts = {line.split()[0]: line for line in lines.splitlines()}
    assert "NOT REACHED" in verdicts["json_vs_decode"]
    assert "NOT REACHED" in verdicts["exactly_once_cost"]
    assert " ok" in verdicts["vs_orm"]
    assert "not measured" in verdicts["vs_quix"]
