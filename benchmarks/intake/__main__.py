"""Runs all of it: `make bench-ingest`, or `python -m benchmarks.intake` with options.

Starts a broker and a server of its own. In each round everything is measured one after the other,
ratios are taken within the round, and the medians of the rounds are reported. The last line is one
JSON object with the keys of `report.KEYS`; null is what was not measured, and why stands above.
"""

import argparse
import signal
import sys

from benchmarks.intake.report import last_line, medians, ratios, table
from benchmarks.intake.rounds import MEASURES, Rounds, tell
from benchmarks.intake.scale import memory_growth
from benchmarks.intake.site import Site
from benchmarks.intake.stage import Sizes, Stage


def main() -> None:
    """Measure, and print the medians."""
    given = _arguments()
    # Whoever ends it early finds nothing left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Site.open() as site:
        rounds = Rounds(Stage(site, _sizes(given)), given.only or list(MEASURES))
        rates = [rounds.measure() for _ in range(given.rounds)]
        summary = medians([ratios(one) for one in rates])
        if given.long:
            summary["memory_growth"] = rounds.once(
                "memory_growth", lambda: memory_growth(site, given.long)
            )
    for name, value in medians(rates).items():
        tell(f"median {name}: {value:,.0f} readings/s" if value else f"{name}: not measured")
    print(table(summary))
    print(last_line(summary))
    if rounds.broken:
        raise SystemExit(f"failed: {', '.join(rounds.broken)}")


def _sizes(given: argparse.Namespace) -> Sizes:
    count = given.readings
    return Sizes(
        json=count,
        packed=2 * count,
        connect=count // 4,
        tuned=count // 2,
        slow=count // 20,
        large=given.large,
        produced=count // 2,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--readings", type=int, default=400_000, help="brought as JSON; others in proportion"
    )
    parser.add_argument(
        "--large", type=int, default=5_000_000, help="stored already in the large table"
    )
    parser.add_argument(
        "--long", type=int, default=10_000_000, help="brought while memory is watched; 0 for none"
    )
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), help="leave the others out")
    given = parser.parse_args()
    for name in ("readings", "large", "long"):
        # Machines take turns evenly, and the smallest share is a twentieth.
        if getattr(given, name) % 1000:
            parser.error(f"--{name} must be a multiple of 1000")
    return given


if __name__ == "__main__":
    main()
