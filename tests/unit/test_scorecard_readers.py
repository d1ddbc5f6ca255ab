"""Published datasets are read as their authors meant them, and broken ones are refused in words."""

import numpy as np
import pytest

from domain.errors import BadInputError
from domain.scorecard.readers import (
    guess_format,
    read_fleet,
    read_run,
    read_unseen,
    read_windows,
)
from domain.scorecard.runs import Format

SKAB = "datetime;Flow Rate;Current;anomaly;changepoint\n"
NAB = "timestamp,value\n"


def _skab(rows: int = 500) -> str:
    lines = (
        f"2020-03-09 10:{second // 60:02}:{second % 60:02};{second}.5;1.0;"
        f"{float(second >= 450)};{float(second == 450)}"
        for second in range(rows)
    )
    return SKAB + "\n".join(lines) + "\n"


def _engine(unit: int, cycles: int) -> str:
    rows = (" ".join([str(unit), str(cycle), *["0.5"] * 24]) for cycle in range(1, cycles + 1))
    return "\n".join(rows) + "  \n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (SKAB, Format.SKAB),
        ("datetime;Accelerometer1RMS;Current\n2020-01-01 00:00:00;1;2", Format.SKAB),
        (NAB, Format.NAB),
        (_engine(1, 2), Format.CMAPSS),
        ("time,amps,anomaly\n", Format.CSV),
        ("amps\tTimestamp\n", Format.CSV),
    ],
)
def test_a_format_is_told_by_the_first_line(text: str, kind: Format) -> None:
    """No flag is needed for any dataset that is known."""
    assert guess_format("file", text) is kind


@pytest.mark.parametrize("text", ["", "GNU GENERAL PUBLIC LICENSE\n", "1 2 3\n", "a,b\n1,2\n"])
def test_what_is_no_dataset_is_refused(text: str) -> None:
    """The answer names the file and the flag."""
    with pytest.raises(BadInputError, match=r"LICENSE\.txt.*--format"):
        guess_format("LICENSE.txt", text)


def test_a_skab_run_has_sensors_labels_and_changepoints() -> None:
    """Labels are no sensors; blanks in names become underscores; 400 rows are learnt from."""
    run = read_run("valve1/0.csv", _skab(), Format.SKAB)

    assert run.sensors == ("Flow_Rate", "Current")
    assert (len(run), run.train_rows, run.period_s) == (500, 400, 1.0)
    assert run.anomalous is not None
    assert np.flatnonzero(run.anomalous)[0] == 450
    assert run.changepoints is not None
    assert run.changepoints.sum() == 1
    assert run.values[3].tolist() == [3.5, 1.0]
    assert (len(run.train), len(run.test), int(run.truth.sum())) == (400, 100, 50)


def test_a_run_without_labels_is_healthy() -> None:
    """SKAB's fault-free run has neither column."""
    text = "\n".join(";".join(row.split(";")[:3]) for row in _skab().splitlines())

    run = read_run("free.csv", text, Format.SKAB)

    assert (run.anomalous, run.changepoints) == (None, None)
    assert not run.truth.any()


def test_nab_takes_its_labels_from_windows() -> None:
    """Both ends of a window belong to it; probation is at most 15 %."""
    rows = (f"2014-01-01 {i // 60:02}:{i % 60:02}:00,{i}" for i in range(1000))
    windows = read_windows(
        "windows.json", '{"a.csv": [["2014-01-01 10:00:00.000000", "2014-01-01 10:59:00.000000"]]}'
    )

    run = read_run("a.csv", NAB + "\n".join(rows), Format.NAB, windows["a.csv"])

    assert run.anomalous is not None
    assert np.flatnonzero(run.anomalous).tolist() == list(range(600, 660))
    assert (run.train_rows, run.period_s, run.sensors) == (150, 60.0, ("value",))


def test_a_csv_may_name_the_root_and_leave_cells_empty() -> None:
    """An empty cell is a missing value, an unknown root is a mistake."""
    rows = [f"{i},{i},,{int(i > 250)},{'amps' if i > 250 else ''}" for i in range(300)]
    text = "time,amps,volts,anomaly,root\n" + "\n".join(rows)

    run = read_run("a.csv", text, Format.CSV)

    assert np.isnan(run.values[:, 1]).all()
    assert run.roots is not None
    assert set(run.roots.tolist()) == {-1, 0}
    with pytest.raises(BadInputError, match="root 'amps' is no sensor of current, volts"):
        read_run("a.csv", text.replace("time,amps", "time,current"), Format.CSV)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (_skab().replace(";7.5;", ";seven;"), "row 9, column Flow Rate: 'seven' is not a number"),
        (_skab().replace("10:00:05", "noon"), "a time cannot be read"),
        (_skab().replace("datetime", "when"), "there is no time column"),
        (_skab(100), "100 rows are too few"),
        (_skab().replace(";7.5;", ";7.5;1;"), "row 9 has 6 cells, not 5"),
        (SKAB, "no rows below a header"),
    ],
)
def test_a_broken_run_is_refused_in_words(broken: str, message: str) -> None:
    """Row and column are named as a spreadsheet counts them."""
    with pytest.raises(BadInputError, match=message):
        read_run("valve1/0.csv", broken, Format.SKAB)


def test_a_fleet_is_cut_into_lives() -> None:
    """Each unit ends with its failure; unit and cycle are no sensors."""
    fleet = read_fleet("train_FD001.txt", _engine(1, 30) + _engine(2, 20))

    assert [life.values.shape for life in fleet.lives] == [(30, 24), (20, 24)]
    assert all(life.failed for life in fleet.lives)


@pytest.mark.parametrize("text", ["", _engine(1, 3) + "1 2 3\n", _engine(1, 3) + _engine(1, 3)])
def test_a_broken_fleet_is_refused(text: str) -> None:
    """No rows, a short row, or cycles that begin anew."""
    with pytest.raises(BadInputError, match=r"train\.txt"):
        read_fleet("train.txt", text)


def test_machines_that_were_seen_in_part_end_later() -> None:
    """The remaining cycles of each unit come from a file of their own."""
    unseen = read_unseen("RUL_FD001.txt", "7\n0\n")

    fleet = read_fleet("test_FD001.txt", _engine(1, 3) + _engine(2, 2), unseen)

    assert [life.left.tolist() for life in fleet.lives] == [[9, 8, 7], [1, 0]]
    with pytest.raises(BadInputError, match="1 units, and the remaining life of 2 is noted"):
        read_fleet("test_FD001.txt", _engine(1, 3), unseen)
    with pytest.raises(BadInputError, match=r"RUL_FD001\.txt.*line 2: '-1'"):
        read_unseen("RUL_FD001.txt", "7\n-1\n")


def test_windows_that_are_none_are_refused() -> None:
    """The file is named."""
    with pytest.raises(BadInputError, match=r"windows\.json"):
        read_windows("windows.json", "[1, 2]")


@pytest.mark.parametrize(
    ("slip", "meant"), [("anomally", "anomaly"), ("change_point", "changepoint")]
)
def test_a_label_with_a_slip_of_the_pen_is_no_sensor(slip: str, meant: str) -> None:
    """Taken for a sensor it would tell the answer, and nothing would be scored."""
    rows = [f"{second},{second % 7},0" for second in range(400)]
    text = "\n".join([f"time,flow,{slip}", *rows])

    with pytest.raises(BadInputError, match=f"'{slip}' is nearly '{meant}'"):
        read_run("mine.csv", text, Format.CSV)

    fine = read_run("mine.csv", text.replace(slip, "animation"), Format.CSV)
    assert fine.sensors == ("flow", "animation")
