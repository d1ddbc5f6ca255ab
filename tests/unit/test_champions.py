"""A promoted model is verified before it scores; one that fails is refused, told, and not used."""

import hashlib
import logging
from collections.abc import Callable, Mapping

import pytest

from domain.care import Care
from domain.package import MAGIC, read_package, write_package
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from domain.roster import Roster
from observability.catalogue import MODEL_REFUSED
from observability.metric import Metric
from ray_app.champions import Champions
from tests.unit.learning_samples import healthy, machine_class


class Registry:
    """Versions and packages in memory."""

    def __init__(self, good: bytes) -> None:
        self.packages, self.champion = {1: good}, 1
        self.refused: list[tuple[int, str]] = []

    def roster(self) -> Roster:
        """Return no machines."""
        return Roster()

    def versions(self) -> Mapping[str, tuple[int, str]]:
        """Return the champion."""
        sha256 = hashlib.sha256(self.packages[self.champion]).hexdigest()
        return {machine_class().name: (self.champion, sha256)}

    def care(self) -> Mapping[str, Care]:
        """Return nothing: no machine is looked after."""
        return {}

    def challengers(self) -> Mapping[str, tuple[int, str]]:
        """Return nobody."""
        return {}

    def risks(self) -> Mapping[str, tuple[int, str]]:
        """Return none."""
        return {}

    def risk_package(self, machine_class: str, version: int) -> bytes:
        """Nobody asks: there is none."""
        raise AssertionError((machine_class, version))

    def package(self, machine_class: str, version: int) -> bytes:
        """Return a version's package."""
        assert machine_class
        return self.packages[version]

    def refuse(self, machine_class: str, version: int, reason: str) -> None:
        """Note it."""
        assert machine_class
        self.refused.append((version, reason))


class Counted:
    """Keeps what counters were told."""

    def __init__(self) -> None:
        self.added: list[tuple[Metric, dict[str, str]]] = []

    def add(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        """Keep it."""
        assert amount == 1
        self.added.append((metric, labels))

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Ignore gauges."""

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Ignore histograms."""


@pytest.fixture(scope="module")
def package() -> bytes:
    """Return a good model."""
    spec = PipelineSpec(detector="pca", regimes=1)
    return Pipeline.fit(spec, [healthy(1)], machine_class(), seed=0).to_package()


def _flipped(package: bytes) -> bytes:
    return package[:-1] + bytes([package[-1] ^ 1])


def _of_another_format(package: bytes) -> bytes:
    return b"MILLWRIGHT MODEL 1\n" + package[len(MAGIC) :]


def _without_a_part(package: bytes) -> bytes:
    manifest, arrays = read_package(package, "good")
    return write_package(manifest, {k: v for k, v in arrays.items() if k != "front.centre"})


def _of_a_library_that_computes_otherwise(package: bytes) -> bytes:
    """What an sklearn or numpy that gives other numbers would have left in the golden batch."""
    manifest, arrays = read_package(package, "good")
    return write_package(manifest, arrays | {"golden.score": arrays["golden.score"] * 1.01})


def _of_another_class(package: bytes) -> bytes:
    manifest, arrays = read_package(package, "good")
    given = manifest["machine_class"]
    given["sensors"] = given["sensors"][:-1]
    return write_package(manifest, arrays)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_flipped, "SHA-256"),
        (_of_another_format, "instead of"),
        (_without_a_part, "parts do not fit"),
        (_of_another_class, "do not fit"),
        (_of_a_library_that_computes_otherwise, "golden batch scores differ"),
    ],
)
def test_a_model_that_fails_verification_is_refused_once_and_the_old_one_stays(
    package: bytes,
    damage: Callable[[bytes], bytes],
    told: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Metric, event and log say so; it is not tried again every second."""
    registry, metrics = Registry(package), Counted()
    champions = Champions(registry, metrics, "predictor")
    first = champions.refresh().champion(machine_class().name)
    registry.packages[2], registry.champion = damage(package), 2

    with caplog.at_level(logging.ERROR):
        kept = [champions.refresh().champion(machine_class().name) for _ in range(3)]

    assert first.version == 1
    assert all(one is first for one in kept)
    assert [version for version, _ in registry.refused] == [2]
    assert told in registry.refused[0][1]
    assert metrics.added == [(MODEL_REFUSED, {"consumer": "predictor"})]
    assert "the old one serves on" in caplog.text


def test_a_good_model_takes_over_after_a_refused_one(package: bytes) -> None:
    """A refusal is of one version's bytes, not of the class."""
    registry = Registry(package)
    champions = Champions(registry, Counted(), "predictor")
    champions.refresh()
    registry.packages[2], registry.champion = _flipped(package), 2
    champions.refresh()
    registry.packages[3], registry.champion = package, 3

    assert champions.refresh().champion(machine_class().name).version == 3
