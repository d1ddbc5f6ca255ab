"""What is measured in each round, one after the other: rivals run minutes apart at the most."""

import sys
import time
from collections.abc import Callable
from statistics import harmonic_mean

from benchmarks.intake import ours
from benchmarks.intake.producing import Producing
from benchmarks.intake.reads import Reads
from benchmarks.intake.report import Round
from benchmarks.intake.rivals import loops, quix
from benchmarks.intake.rivals.clock import RivalFailedError
from benchmarks.intake.rivals.connect import Connect
from benchmarks.intake.scale import Drain, Scale
from benchmarks.intake.stage import Stage
from domain.errors import PlatformError

type Measure = Callable[[], Round]
type Prepare = Callable[[Stage], Measure]

_DECODED = 200_000


def _json(stage: Stage) -> Measure:
    """Ours twice, and between both whatever costs a few per cent of it: so drifts cancel."""
    site, topic = stage.site, stage.json

    # The first run of a broker warms it up, so the process comes once more after the actor.
    for how in ("consume", "actor", "consume"):
        busy = ours.busy_us(site, topic, how=how)
        spent = ", ".join(f"{name} {each:.2f}" for name, each in busy.items())
        tell(f"json, {how}, microseconds per reading: {spent}")

    def measure() -> Round:
        decode = ours.decode_rate(_DECODED)
        first = ours.ingest(site, topic)
        unsafe = ours.ingest(site, topic, how="unsafe")
        actor = ours.ingest(site, topic, how="actor")
        last = ours.ingest(site, topic)
        both = harmonic_mean([first, last])
        return {"decode": decode, "json": both, "unsafe": unsafe, "ray_actor": actor}

    return measure


def _packed(stage: Stage) -> Measure:
    """Ours between two COPYs of the same readings."""
    site, topic, count = stage.site, stage.packed, stage.sizes.packed
    file = ours.copy_file(site, count)

    def measure() -> Round:
        first = ours.copy_rate(site, file, count)
        packed = ours.ingest(site, topic)
        last = ours.copy_rate(site, file, count)
        return {"packed": packed, "copy": harmonic_mean([first, last])}

    return measure


def _connect(stage: Stage) -> Measure:
    rival = Connect(stage.site)
    return lambda: {
        "connect_jdbc": rival.measure(stage.connect, tuned=False),
        "connect_jdbc_tuned": rival.measure(stage.tuned, tuned=True),
    }


def _loops(stage: Stage) -> Measure:
    return lambda: {
        "executemany_100": loops.measure(stage.site, stage.slow, "executemany"),
        "orm": loops.measure(stage.site, stage.slow, "orm"),
    }


def _quix(stage: Stage) -> Measure:
    python = quix.install()
    return lambda: {"quix": quix.measure(stage.site, stage.slow, python)}


def _reads(stage: Stage) -> Measure:
    return Reads(stage.site).measure


def _producer(stage: Stage) -> Measure:
    return Producing(stage.site, stage.sizes.produced).measure


def _scale(stage: Stage) -> Measure:
    return Scale(stage.site, stage.sizes.large).measure


def _drain(stage: Stage) -> Measure:
    return Drain(stage.site).measure


MEASURES: dict[str, Prepare] = {
    "json": _json,
    "packed": _packed,
    "connect": _connect,
    "loops": _loops,
    "quix": _quix,
    "reads": _reads,
    "producer": _producer,
    "scale": _scale,
    "drain": _drain,
}
"""By name, in the order in which they run."""


_FAILURES = (RuntimeError, ValueError, TimeoutError, PlatformError)


class Rounds:
    """Prepares everything once, then measures as often as asked.

    Args:
        stage: Where and how much.
        wanted: Names out of `MEASURES`.

    Attributes:
        broken: Our own measurements that failed; a rival may, ours may not.
    """

    def __init__(self, stage: Stage, wanted: list[str]) -> None:
        self._number, self.broken = 0, list[str]()
        self._measures: dict[str, Measure] = {}
        for name in wanted:
            began = time.monotonic()
            try:
                self._measures[name] = MEASURES[name](stage)
            except _FAILURES as error:
                self._without(name, error)
            tell(f"prepared {name} in {time.monotonic() - began:.0f} s")

    def measure(self) -> Round:
        """Measure everything once; what failed is left out of the rounds that follow."""
        self._number += 1
        found: dict[str, float | None] = {}
        for name, measure in list(self._measures.items()):
            began = time.monotonic()
            try:
                rates = measure()
            except _FAILURES as error:
                self._without(name, error)
                continue
            found.update(rates)
            said = ", ".join(f"{key} {value:,.0f}" for key, value in rates.items() if value)
            tell(f"round {self._number}, {name}, {time.monotonic() - began:.0f} s: {said} /s")
        return found

    def once(self, name: str, measure: Callable[[], float]) -> float | None:
        """Measure what takes too long for every round."""
        began = time.monotonic()
        try:
            found = measure()
        except _FAILURES as error:
            self._without(name, error)
            return None
        tell(f"{name}, {time.monotonic() - began:.0f} s: {found:.3f}")
        return found

    def _without(self, name: str, error: Exception) -> None:
        self._measures.pop(name, None)
        if not isinstance(error, RivalFailedError):
            self.broken.append(name)
        tell(f"{name} is not measured: {error}")


def tell(line: str) -> None:
    """Say how far it is; the result alone goes to the standard output."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
