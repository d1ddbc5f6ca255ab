"""What travels with a model for people: its manifest and its card."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from domain.pipeline import Pipeline
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
    pipeline: Pipeline, replayed: Replayed, figures: Mapping[str, float], decision: str
) -> bytes:
    """Return the card as Markdown."""
    about: Mapping[str, Any] = pipeline.about
    spec = ", ".join(f"{key} {value}" for key, value in differences(pipeline.spec).items())
    low, high = min(replayed.objectives), max(replayed.objectives)
    rows = "\n".join(f"| {key} | {value:.4g} |" for key, value in sorted(figures.items()))
    return f"""# {replayed.name}

- **Learnt from**: {about["rows"]} readings of {len(about["machines"])} machines,
  {_time(about["from_us"])} to {_time(about["to_us"])};
  {about.get("excluded", 0)} near suspected failures were left out
- **Sensors**: {", ".join(pipeline.machine_class.sensor_names)}
- **Configuration**: {pipeline.spec.features} features, {pipeline.spec.detector};
  other than the defaults: {spec or "nothing"}
- **Gate**: {decision}
- **Objective** (no labels): {replayed.objective:.3f}, {low:.3f} to {high:.3f} over
  {len(replayed.objectives)} replays

| figure | value |
|---|---|
{rows}

Figures come from faults laid over healthy held-out readings, not from failures that were seen. The
model says that a machine left its healthy range and which sensors show it; it does not know why.
Operating modes that were not in the period above look anomalous to it.
""".encode()


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
