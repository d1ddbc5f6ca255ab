"""What travels with a model for people: its manifest and its card."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from domain.clean_training import Unusual
from domain.machines import Sensor
from domain.pipeline import Pipeline
from domain.pipeline_spec import PipelineSpec
from tuning.promotion import Replayed
from tuning.space import differences


def manifest(pipeline: Pipeline, *, sha256: str, figures: Mapping[str, float]) -> dict[str, Any]:
    """Return what a program asks of a model before it loads it."""
    return {
        "format": "millwright",
        "package": "pipeline.millwright",
        "sha256": sha256,
        "machine_class": pipeline.machine_class.name,
        "sensors": list(pipeline.machine_class.sensor_names),
        "spec": asdict(pipeline.spec),
        "figures": dict(figures),
        "about": {key: value for key, value in pipeline.about.items() if key != "drift"},
    }


def manifest_json(pipeline: Pipeline, *, sha256: str, figures: Mapping[str, float]) -> bytes:
    """Return `manifest` as bytes."""
    return json.dumps(
        manifest(pipeline, sha256=sha256, figures=figures), indent=2, default=str
    ).encode()


def model_card(
    pipeline: Pipeline,
    replayed: Replayed,
    spreads: Mapping[str, tuple[float, float, float]],
    decision: str,
    labelled: str = "",
) -> bytes:
    """Return the card as Markdown.

    Args:
        pipeline: As it serves.
        replayed: As it was judged.
        spreads: Name of a figure → mean, smallest and largest over the replays.
        decision: Of the gate, in words.
        labelled: What it makes of the periods that people judged, in words; empty without any.
    """
    over = f"{len(replayed.objectives)} replays"
    low, high = min(replayed.objectives), max(replayed.objectives)
    return f"""# {replayed.name}

{_learnt(pipeline)}
- **Gate**: {decision}
- **Objective** (no labels): {replayed.objective:.3f}, {low:.3f} to {high:.3f} over
  {over}
- **Labels**: {labelled or "nobody judged a period of this class yet"}

{_figures(spreads, over)}

{_limits(pipeline)}
""".encode()


def _learnt(pipeline: Pipeline) -> str:
    """Return from what and how it learnt."""
    about: Mapping[str, Any] = pipeline.about
    spec = ", ".join(f"{key} {value}" for key, value in differences(pipeline.spec).items())
    return f"""- **Learnt from**: {about["rows"]} readings of {len(about["machines"])} machines,
  {_time(about["from_us"])} to {_time(about["to_us"])};
  {about.get("excluded", 0)} near suspected failures were left out
- **Left out as unusual**: {_unusual(about.get("unusual", ()))}
- **Sensors**: {", ".join(_sensor(one) for one in pipeline.machine_class.sensors)}
- **Configuration**: {pipeline.spec.features} features, {pipeline.spec.detector};
  other than the defaults: {spec or "nothing"}
- **Chosen**: {about.get("chosen") or "the best trial of its sweep"}
- **Health ends** at a distance of {pipeline.threshold:.4g}, by {_ends(pipeline)}
- **Regimes**: {len(pipeline.front.plan.centres)}; a machine without a known past is judged after
  {pipeline.warmup_rows} readings"""


def _ends(pipeline: Pipeline) -> str:
    """Return how the threshold was found, and by what else readings are judged."""
    rules, told = pipeline.lasting, _threshold(pipeline.spec)
    if rules.limit < 1:
        told += f";\n  what lasts for {rules.rows} readings alarms from {rules.limit:.3g} of it on"
    if rules.settling < 1:
        told += (
            f";\n  the first {rules.settling_rows} readings after a change of regime alarm from "
            f"{1 / rules.settling:.3g} times it on"
        )
    if rules.third > 0:
        third = pipeline.threshold * rules.third
        told += (
            f";\n  or where the newest third of a high window is at {third:.4g}, and a fault is "
            f"over when that is back below {rules.limit * third:.4g}"
        )
    return told


def _unusual(stretches: Sequence[Mapping[str, Any]]) -> str:
    """Return what stood too far out to be learnt from, though nobody suspected a failure."""
    if not stretches:
        return "nothing"
    rows = sum(one["rows"] for one in stretches)
    return f"{rows} readings: " + ", ".join(str(Unusual(**one)) for one in stretches)


def _figures(spreads: Mapping[str, tuple[float, float, float]], over: str) -> str:
    rows = "\n".join(
        f"| {key} | {mean:.4g} | {least:.4g} to {most:.4g} |"
        for key, (mean, least, most) in sorted(spreads.items())
    )
    return f"""| figure | mean | over {over} |
|---|---|---|
{rows}"""


def _limits(pipeline: Pipeline) -> str:
    """Return what it does not know."""
    return f"""## Limits

- Figures come from faults laid over healthy held-out readings, not from failures that were seen;
  the range is of faults drawn anew, not of other machines or other months.
- The model says that a machine left its healthy range and which sensors show it; it does not know
  why, nor when the machine will fail.
- Operating modes that were not in the period above look anomalous to it, and so does a sensor that
  wandered less in that period than it does in a month.
- Other machine classes, sensors in another unit and rates of readings far from one every
  {pipeline.machine_class.period_s:g} s are not what it learnt."""


def _sensor(one: Sensor) -> str:
    return one.name if one.unit == "1" else f"{one.name} [{one.unit}]"


def _threshold(spec: PipelineSpec) -> str:
    if spec.threshold == "evt":
        return f"the tail of out-of-fold scores, exceeded once in {spec.return_s:g} s of health"
    return f"{spec.margin:.3g} times the {spec.quantile:g} quantile of out-of-fold scores"


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
