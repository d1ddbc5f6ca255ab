"""The champions in use: found in Postgres, verified beside the traffic, then swapped by reference.

Who serves never waits for a swap: the old model answers until the new one is loaded, verified
against its own golden batch and warm. One that fails is refused, told, and the old one serves on.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

import numpy as np

from domain.care import Care
from domain.errors import ModelRejectedError, PlatformError
from domain.pipeline import Pipeline
from domain.risk.class_risk import ClassRisk
from domain.roster import Roster
from observability.catalogue import MODEL_REFUSED, MODEL_VERSION
from observability.metric import Metrics
from ray_app.known import Champion, Known

_log = logging.getLogger(__name__)

POLL_S = 1.0
"""How late a promotion is noticed at most; the question is one small index look-up."""

_WARM_ROWS = 8


class Registry(Protocol):
    """Where champions come from."""

    def roster(self) -> Roster:
        """Return machines and classes."""

    def versions(self) -> Mapping[str, tuple[int, str]]:
        """Return machine class → version and checksum of its champion."""

    def care(self) -> Mapping[str, Care]:
        """Return machine → what is its own."""

    def challengers(self) -> Mapping[str, tuple[int, str]]:
        """Return machine class → version and checksum of who is to score in shadow."""

    def package(self, machine_class: str, version: int) -> bytes:
        """Return a version's package."""

    def risks(self) -> Mapping[str, tuple[int, str]]:
        """Return machine class → version and checksum of its risk model."""

    def risk_package(self, machine_class: str, version: int) -> bytes:
        """Return a risk model's package."""

    def refuse(self, machine_class: str, version: int, reason: str) -> None:
        """Tell that a promoted version could not be loaded."""


class Champions:
    """Keeps `known` as fresh as the registry; for any number of readers, which never block.

    Args:
        registry: Where champions come from.
        metrics: Told of versions and refusals.
        consumer: The label under which: predictor or scorer.
        shadow: Whether challengers are loaded as well.
    """

    def __init__(
        self, registry: Registry, metrics: Metrics, consumer: str, *, shadow: bool = False
    ) -> None:
        self._registry, self._metrics, self._consumer = registry, metrics, consumer
        self._shadow = shadow
        self._refused: set[tuple[str, int, str]] = set()
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.known = Known()
        self.trouble: str | None = "not asked yet"
        """Why `known` may be old, in words; None after a refresh that succeeded."""

    def start(self, poll_s: float = POLL_S) -> None:
        """Refresh in the background until `close`."""
        self._thread = threading.Thread(
            target=self._run, args=(poll_s,), name="champions", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop refreshing. Harmless when repeated."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def refresh(self) -> Known:
        """Ask the registry once, now; return what is known after it.

        Raises:
            ServiceUnavailableError: The registry is away; what was known stays.
        """
        with self._refreshing:
            wanted = self._registry.versions()
            roster = self._registry.roster()
            current = dict(self.known.champions)
            self._bring(current, wanted)
            self._load_risks(current)
            challengers = dict(self.known.challengers)
            if self._shadow:
                self._bring(challengers, self._registry.challengers(), in_shadow=True)
            self.known = Known(
                roster=roster,
                champions=MappingProxyType(current),
                care=MappingProxyType(dict(self._registry.care())),
                challengers=MappingProxyType(challengers),
            )
            return self.known

    def _bring(
        self,
        current: dict[str, Champion],
        wanted: Mapping[str, tuple[int, str]],
        *,
        in_shadow: bool = False,
    ) -> None:
        for name, (version, sha256) in wanted.items():
            has = current.get(name)
            if has is None or (has.version, has.sha256) != (version, sha256):
                self._load(current, name, version, sha256, in_shadow=in_shadow)
        for gone in current.keys() - wanted.keys():
            del current[gone]

    def _run(self, poll_s: float) -> None:
        while True:
            self._try()
            if self._stop.wait(poll_s):
                return

    def _try(self) -> None:
        try:
            known = self.refresh()
        except PlatformError as error:
            if self.trouble != str(error):
                _log.warning("champions are not refreshed: %s", error)
            self.trouble = str(error)
        except Exception as error:  # noqa: BLE001 - a thread that dies would freeze the champions for good
            _log.exception("champions are not refreshed")
            self.trouble = f"{type(error).__name__}: {error}"
        else:
            self.trouble = None
            newest = max((one.version for one in known.champions.values()), default=0)
            self._metrics.set(MODEL_VERSION, newest, consumer=self._consumer)

    def _load(
        self,
        current: dict[str, Champion],
        name: str,
        version: int,
        sha256: str,
        *,
        in_shadow: bool,
    ) -> None:
        if (name, version, sha256) in self._refused:
            return
        try:
            pipeline = Pipeline.from_package(
                self._registry.package(name, version), f"{name} version {version}"
            )
            _warm_up(pipeline)
        except ModelRejectedError as error:
            self._refused.add((name, version, sha256))
            if in_shadow:
                # It would come to nothing more than this: nobody waits for its scores.
                _log.warning("%s; nothing scores in shadow", error)
                current.pop(name, None)
            else:
                self._tell_refused(error)
                self._registry.refuse(name, version, str(error))
            return
        before = current.get(name)
        current[name] = Champion(
            machine_class=name,
            version=version,
            sha256=sha256,
            pipeline=pipeline,
            risk=None if before is None else before.risk,
        )
        _log.info("%s version %d is in use", name, version)

    def _load_risks(self, current: dict[str, Champion]) -> None:
        """Bring risk models beside the champions; one that fails is told, and the old one stays."""
        for name, (version, sha256) in self._registry.risks().items():
            champion = current.get(name)
            key = (f"risk {name}", version, sha256)
            if champion is None or key in self._refused:
                continue
            if champion.risk is not None and champion.risk.version == version:
                continue
            label = f"risk of {name} version {version}"
            try:
                risk = _fitting(self._registry.risk_package(name, version), label, champion)
            except ModelRejectedError as error:
                self._refused.add(key)
                self._tell_refused(error)
                continue
            current[name] = replace(champion, risk=risk.numbered(version))
            _log.info("%s is in use", label)

    def _tell_refused(self, error: ModelRejectedError) -> None:
        self._metrics.add(MODEL_REFUSED, consumer=self._consumer)
        _log.error("%s; the old one serves on", error)


def _fitting(package: bytes, label: str, champion: Champion) -> ClassRisk:
    risk = ClassRisk.from_package(package, label)
    if risk.sensors != champion.pipeline.machine_class.sensor_names:
        raise ModelRejectedError(label, "it knows other sensors than the champion")
    return risk


def _warm_up(pipeline: Pipeline) -> None:
    """Score a few rows, so that what is compiled or allocated at first use is there."""
    sensors = len(pipeline.machine_class.sensors)
    step_us = max(1, round(pipeline.machine_class.period_s * 1e6))
    instants = np.arange(1, _WARM_ROWS + 1, dtype=np.int64) * step_us
    pipeline.score(pipeline.new_state(), instants, np.zeros((_WARM_ROWS, sensors)))


def await_refresh(champions: Champions, found: Callable[[Known], bool]) -> Known:
    """Return what is known, asking the registry once more when what is sought is not there.

    A machine registered a moment ago is found this way; with the registry away the old answer
    stands.

    Raises:
        ServiceUnavailableError: The registry is away and was never heard, so nothing is known.
    """
    if found(champions.known):
        return champions.known
    try:
        return champions.refresh()
    except PlatformError:
        if not champions.known.roster.classes:
            raise
        return champions.known
