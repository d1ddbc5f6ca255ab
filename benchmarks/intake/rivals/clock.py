"""The clock of all rivals: rows that another session can see."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.intake.site import ROOT
from storage.connect import rows, session
from storage.settings import StorageSettings

_FIRST_ROW_WITHIN_S = 90
_WITHIN_S = 240
_SHARE_OF_LOOKING = 0.05
_LONGEST_PAUSE_S = 0.25
"""Counting takes its time from the rival: no more than this share of it, if it is not made to wait
by a rival that locks its table."""


class RivalFailedError(RuntimeError):
    """A rival did not start or did not end; its figure stays empty and the reason is printed."""


def rate(
    argv: Sequence[str], storage: StorageSettings, table: str, wanted: int, log: Path
) -> float:
    """Run a rival until all its rows can be seen; return rows per second after the first fifth.

    Args:
        argv: Its process, which is ended afterwards.
        storage: Where it writes to.
        table: Which table; there already.
        wanted: Rows it will have written.
        log: File for what it says.

    Raises:
        RivalFailedError: It ended too early, wrote more than was sent, or took too long.
    """
    with log.open("w") as said, subprocess.Popen(argv, stdout=said, stderr=said, cwd=ROOT) as rival:
        try:
            return _watched(rival, storage, table, wanted)
        except RivalFailedError as error:
            raise RivalFailedError(f"{error}; it said: {_last_words(log)}") from None
        finally:
            rival.kill()


def _watched(
    rival: subprocess.Popen[bytes], storage: StorageSettings, table: str, wanted: int
) -> float:
    start = time.monotonic()
    began, first, seen = 0.0, 0, 0
    while seen < wanted:
        ended = rival.poll() is not None
        looked = time.perf_counter()
        seen = _count(storage, table)
        now = time.perf_counter()
        if not first and seen >= wanted / 5:
            began, first = now, seen
        waited_s = time.monotonic() - start
        late = waited_s > (_WITHIN_S if seen else _FIRST_ROW_WITHIN_S)
        if seen < wanted and (ended or late):
            raise RivalFailedError(f"{seen} of {wanted} rows after {waited_s:.0f} s")
        time.sleep(min(_LONGEST_PAUSE_S, (now - looked) * (1 / _SHARE_OF_LOOKING - 1)))
    if seen > wanted or first == wanted:
        raise RivalFailedError(f"{seen} rows instead of {wanted}, {first} at once")
    return (wanted - first) / (now - began)


def _count(storage: StorageSettings, table: str) -> int:
    with session(storage) as on:
        rows(on, "SET LOCAL max_parallel_workers_per_gather = 0")
        return int(rows(on, f"SELECT count(*) FROM {table}")[0][0])


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    telling = [line for line in lines if "ERROR" in line or "Error" in line or "Exception" in line]
    return " | ".join((telling or lines)[-4:])[-800:]
