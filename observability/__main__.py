"""Writes what is generated: `python -m observability [ROOT]`."""

import json
import sys
from pathlib import Path

from observability.alerts import rules
from observability.dashboard import dashboard

GENERATED = {
    "deploy/grafana/dashboards/millwright.json": lambda: json.dumps(dashboard(), indent=2) + "\n",
    "deploy/prometheus/rules.yml": rules,
}
"""Path under the repository's root → its text."""


def main(root: Path) -> None:
    """Write every generated file anew."""
    for name, text in GENERATED.items():
        (root / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2]))
