"""A pipeline as a package and back: which part's arrays are called what, verified when restored."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from domain.changes import ChangeModel
from domain.detectors import DETECTORS
from domain.errors import ModelRejectedError, PlatformError
from domain.features.front import FeatureModel
from domain.lasting import NEVER, Lasting
from domain.package import (
    check_golden,
    class_from,
    read_package,
    take_prefix,
    with_prefix,
    write_package,
)
from domain.pipeline_spec import PipelineSpec
from domain.readings import History
from domain.sensor_health import SensorWatch

if TYPE_CHECKING:
    from domain.pipeline import Pipeline

type _Arrays = dict[str, npt.NDArray[Any]]


def packed(pipeline: "Pipeline") -> bytes:
    """Return a pipeline as one blob without pickles; see `domain.package`."""
    golden, changes = pipeline.golden, pipeline.changes
    manifest = {
        "spec": asdict(pipeline.spec),
        "machine_class": asdict(pipeline.machine_class),
        "threshold": pipeline.threshold,
        "lasting": asdict(pipeline.lasting),
        "window_rows": pipeline.front.window_rows,
        "golden_machine": golden.machine,
        "known_machines": sorted(pipeline.front.bases),
        "about": dict(pipeline.about),
    }
    told = {
        "instants_us": golden.instants_us,
        "values": golden.values,
        "score": pipeline.golden_scores(),
    }
    arrays = {
        **with_prefix(pipeline.front.to_arrays(), "front"),
        **with_prefix(pipeline.detector.to_arrays(), "detector"),
        **with_prefix(pipeline.watch.to_arrays(), "watch"),
        **with_prefix({} if changes is None else changes.to_arrays(), "changes"),
        **with_prefix(told, "golden"),
    }
    return write_package(manifest, arrays)


def unpacked[P: Pipeline](kind: type[P], blob: bytes, name: str) -> P:
    """Restore and verify what `packed` gave.

    Args:
        kind: What to restore.
        blob: The package.
        name: Registered model and version, for the error.

    Raises:
        ModelRejectedError: Checksum, schema or golden batch do not hold.
    """
    manifest, arrays = read_package(blob, name)
    try:
        pipeline = _from_parts(kind, manifest, arrays)
        scores, wanted = pipeline.golden_scores(), arrays["golden.score"]
    except (KeyError, ValueError, TypeError, IndexError, PlatformError) as error:
        raise ModelRejectedError(name, f"its parts do not fit: {error!r}") from error
    check_golden(scores, wanted, name, "its golden batch scores")
    return pipeline


def _from_parts[P: Pipeline](kind: type[P], manifest: dict[str, Any], arrays: _Arrays) -> P:
    spec = PipelineSpec.from_dict(manifest["spec"])
    golden = take_prefix(arrays, "golden")
    machine_class = class_from(manifest["machine_class"])
    return kind(
        spec=spec,
        machine_class=machine_class,
        front=FeatureModel.from_arrays(
            take_prefix(arrays, "front"), manifest["window_rows"], manifest["known_machines"]
        ),
        detector=DETECTORS[spec.detector].restore(take_prefix(arrays, "detector")),
        threshold=float(manifest["threshold"]),
        watch=SensorWatch.from_arrays(take_prefix(arrays, "watch"), machine_class),
        golden=History(
            machine=manifest["golden_machine"],
            instants_us=golden["instants_us"],
            values=golden["values"],
        ),
        # Packages of before hold neither of them.
        lasting=Lasting(**manifest.get("lasting", asdict(NEVER))),
        changes=ChangeModel.from_arrays(take_prefix(arrays, "changes")),
        about=manifest["about"],
    )
