"""`millwright backtest`: what the stream would have said of a machine's own history."""

from typing import Annotated, Any, Final

import typer

from ray_app.cli import context
from ray_app.cli.data import END_US, instant_of
from ray_app.cli.output import Json, json_line, line, progress, rows
from ray_app.cli.scorecard import FIGURES

_TOLD: Final = (
    "readings",
    "alarms",
    "alarm_rate",
    "incidents",
    "stored_incidents",
    "stored_incidents_met",
    "new_incidents",
    "changes",
)
_LEVELS: Final = " ▁▂▃▄▅▆▇█"
"""Of the timeline: a full block is a score of 2 or more."""


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(backtest)


def backtest(
    machine: Annotated[
        list[str] | None, typer.Argument(help="Machines of one class; all of it without.")
    ] = None,
    machine_class: Annotated[
        str | None, typer.Option("--class", help="Class of the machines.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="RFC 3339, such as 2026-01-02T00:00:00Z.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="RFC 3339, not included; all there is without.")
    ] = None,
    learn: Annotated[
        float, typer.Option(min=0.01, max=0.95, help="Share of the history to learn from.")
    ] = 0.3,
    model: Annotated[
        str | None, typer.Option(help="`champion` or a version, instead of learning.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Repetitions, for the spread.")] = 5,
    as_json: Json = False,
) -> None:
    """Score stored readings as the stream would have, beside labels and incidents if there are."""
    from ray_app.backtest import backtest as judged
    from ray_app.backtest_history import Question

    asked = Question(
        machines=tuple(dict.fromkeys(machine or ())),
        machine_class=machine_class,
        start_us=instant_of("--from", start, 0),
        end_us=instant_of("--to", end, END_US),
        learn=learn,
        model=model,
        seeds=seeds,
    )
    card = judged(context.storage(), asked, say=progress)
    card |= {"model": model, "learn": None if model else learn}
    if as_json:
        json_line(card)
    else:
        _tell(card)


def _tell(card: dict[str, Any]) -> None:
    learnt = f"model {card['model']}" if card["model"] else f"the first {card['learn']:.0%} learnt"
    known = "labelled" if card["labelled"] else "not labelled: there is no F1, only alarms"
    line(f"class {card['machine_class']}, {learnt}, {known}")
    for name in (*FIGURES, *_TOLD):
        if card.get(name) is not None:
            spread = card["spread"].get(name, {}).get("sd_over_seeds")
            line(f"{name:32} {card[name]:10.4g}" + (f"  ±{spread:.2g}" if spread else ""))
    told = [{"machine": name, **one} for name, one in card["machines"].items()]
    rows(told, ("machine", *_TOLD), as_json=False, empty="")
    for name, one in card["machines"].items():
        bars = "".join(_bar(each["score_max"]) for each in one["timeline"])
        line(f"{name:24} {bars}")


def _bar(score: float) -> str:
    return _LEVELS[min(len(_LEVELS) - 1, int(score / 2 * (len(_LEVELS) - 1)))]
