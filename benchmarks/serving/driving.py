"""Lets the load generator, a process of its own, ask contestants in turns."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

type Figures = dict[str, float]

PATIENCE_S = 60.0
"""The load generator itself gives a late answer half of that."""


def drive(url: str, body: Path, *, seconds: float, connections: int = 16) -> Figures:
    """Ask one contestant.

    Raises:
        subprocess.SubprocessError: The load generator failed.
    """
    command = [sys.executable, "-m", "benchmarks.serving.load", url, str(body)]
    given = ["--seconds", str(seconds), "--connections", str(connections)]
    done = subprocess.run(
        [*command, *given], capture_output=True, text=True, check=True, timeout=seconds + PATIENCE_S
    )
    return dict(json.loads(done.stdout))


def turns(
    contestants: dict[str, tuple[str, Path]], *, rounds: int, seconds: float, connections: int = 16
) -> dict[str, list[Figures]]:
    """Let contestants take turns, each round in the other order; return what each did.

    Args:
        contestants: Name → where, and the request.
        rounds: How often.
        seconds: Each time.
        connections: Callers.
    """
    for url, body in contestants.values():
        drive(url, body, seconds=1, connections=connections)
    found: dict[str, list[Figures]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants) if number % 2 else list(contestants)[::-1]
        for name in names:
            url, body = contestants[name]
            found[name].append(drive(url, body, seconds=seconds, connections=connections))
            shown = ", ".join(f"{key} {value:,.1f}" for key, value in found[name][-1].items())
            print(f"round {number + 1} {body.stem} {name}: {shown}", flush=True)
    return found


def ratio(ours: list[Figures], theirs: list[Figures], key: str = "per_s") -> float:
    """Return the median over rounds of ours to theirs."""
    found = [a[key] / b[key] for a, b in zip(ours, theirs, strict=True) if b[key]]
    if not found:
        raise ValueError("the rival answered in none of the rounds")
    return statistics.median(found)


def median(found: list[Figures], key: str) -> float:
    """Return the median over rounds."""
    return statistics.median(one[key] for one in found)
