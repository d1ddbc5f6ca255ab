"""The model format, and what it refuses."""

import hashlib

import numpy as np
import pytest

from domain.errors import ModelRejectedError
from domain.package import MAGIC, MAX_BYTES, read_package, write_package
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from tests.unit.learning_samples import healthy, machine_class


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Return a small fitted pipeline."""
    return Pipeline.fit(
        PipelineSpec(), [healthy(seed) for seed in range(3)], machine_class(), seed=0
    )


def signed(body: bytes) -> bytes:
    """Return a package whose checksum holds, whatever its body."""
    return MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def test_a_restored_pipeline_scores_as_the_original(pipeline: Pipeline) -> None:
    """Scores, spec, class, facts and known machines are all there."""
    restored = Pipeline.from_package(pipeline.to_package())
    one = healthy(1)

    before = pipeline.score(pipeline.new_state("m1"), one.instants_us, one.values)
    after = restored.score(restored.new_state("m1"), one.instants_us, one.values)

    np.testing.assert_array_equal(after.score, before.score)
    np.testing.assert_array_equal(after.expected, before.expected)
    assert restored.spec == pipeline.spec
    assert restored.machine_class == pipeline.machine_class
    assert dict(restored.about) == dict(pipeline.about)
    assert restored.to_package() == pipeline.to_package()


def test_a_package_says_what_it_was_learnt_from(pipeline: Pipeline) -> None:
    """Period, machines, rows and libraries travel along."""
    manifest, _ = read_package(pipeline.to_package(), "toy 1")

    about = manifest["about"]
    assert about["machines"] == ["m0", "m1", "m2"]
    assert about["rows"] == 2700
    assert about["from_us"] < about["to_us"]
    assert {"numpy", "scikit-learn"} <= set(about["libraries"])


def test_every_flipped_byte_is_noticed(pipeline: Pipeline) -> None:
    """A package that was damaged anywhere is refused."""
    blob = pipeline.to_package()

    for at in np.linspace(0, len(blob) - 1, 40).astype(int):
        broken = bytearray(blob)
        broken[at] ^= 0x40
        with pytest.raises(ModelRejectedError, match="toy 7"):
            Pipeline.from_package(bytes(broken), "toy 7")


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "begins with"),
        (b"\x80\x04pickle", "begins with"),
        (MAGIC, "SHA-256"),
        (signed(b"not a zip"), "cannot be read"),
    ],
)
def test_what_is_no_package_is_refused(blob: bytes, reason: str) -> None:
    """The reason says which check failed."""
    with pytest.raises(ModelRejectedError, match=reason):
        Pipeline.from_package(blob)


def test_pickled_objects_are_never_loaded() -> None:
    """An array of objects would run code when read; it is refused even if signed."""
    import io

    buffer = io.BytesIO()
    np.savez(buffer, manifest=np.array([{"spec": {}}], dtype=object))

    with pytest.raises(ModelRejectedError, match="cannot be read"):
        Pipeline.from_package(signed(buffer.getvalue()))


def test_a_package_that_unpacks_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small blob must not fill the memory."""
    blob = write_package({}, {"zeros": np.zeros(200_000)})
    monkeypatch.setattr("domain.package.MAX_BYTES", 1_000_000)

    assert len(blob) < 10_000 < MAX_BYTES
    with pytest.raises(ModelRejectedError, match="unpacks"):
        read_package(blob, "bomb")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"threshold": 123.0}, "golden batch"),
        ({"spec": {"detector": "oracle"}}, "parts do not fit"),
        ({"window_rows": "many"}, "parts do not fit"),
        ({"machine_class": {}}, "parts do not fit"),
    ],
)
def test_a_package_that_does_not_do_what_it_did_is_refused(
    pipeline: Pipeline, change: dict[str, object], reason: str
) -> None:
    """A correct checksum is not enough: parts and golden scores must hold as well."""
    manifest, arrays = read_package(pipeline.to_package(), "toy 1")

    with pytest.raises(ModelRejectedError, match=reason):
        Pipeline.from_package(write_package(manifest | change, arrays), "toy 1")


def test_a_package_without_one_of_its_arrays_is_refused(pipeline: Pipeline) -> None:
    """The missing part is named."""
    manifest, arrays = read_package(pipeline.to_package(), "toy 1")
    del arrays["detector.0-pca.centres"]

    with pytest.raises(ModelRejectedError, match="centres"):
        Pipeline.from_package(write_package(manifest, arrays), "toy 1")
