"""The demonstration, step by step, on the real platform.

1. Services, Ray and the applications come up; a consumer actor begins to store.
2. A producer actor sends an hour of healthy history as fast as it goes.
3. A sweep on that history chooses a model without a label; the gate promotes it.
4. The same fleet goes live, accelerated; six machines fail, each in its own way.
5. The scorer raises incidents; the first of each failing machine gives its delay.
6. One prediction is asked for over HTTP, the books are balanced by key, the table is printed.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from typing import Any

from domain.errors import ServiceUnavailableError
from domain.wire import format_instant
from ray_app.bring_up import running
from ray_app.cli.score import sentence
from ray_app.demo import books
from ray_app.demo.plan import DemoPlan
from ray_app.demo.report import DemoReport
from ray_app.embedded import state
from ray_app.platform import Platform, Say
from ray_app.settings import Settings
from storage.connect import session
from storage.history import latest_instants, read_history

_POLL_S = 0.25
_STORE_WITHIN_S = 120.0
"""How long the consumer may lag behind the producer before the run counts as failed."""


@contextmanager
def perform(
    settings: Settings, plan: DemoPlan, *, say: Say
) -> Iterator[tuple[Platform, DemoReport]]:
    """Run the demonstration; the platform lives on for the time of the block.

    It has a home of its own under the configured one, emptied at each start, so that it never
    touches what a user's platform stores.

    Raises:
        ConflictError: Another demonstration runs there.
        ServiceUnavailableError: Something does not come up, or does not keep up.
    """
    began_s = time.monotonic()
    settings = replace(settings, home=settings.home / state.DEMONSTRATION)
    with state.lock(settings.home):
        for leftover in settings.home.iterdir():
            if leftover.name != "lock":
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    with running(settings, say=say) as platform:
        report = _Demo(platform, plan).run(began_s)
        yield platform, report


class _Demo:
    """One run; every step leaves what the next one needs."""

    def __init__(self, platform: Platform, plan: DemoPlan) -> None:
        self._platform, self._plan, self._say = platform, plan, platform.say
        self._live_us = plan.live_us(_wall_us())

    def run(self, began_s: float) -> DemoReport:
        platform, plan = self._platform, self._plan
        platform.serve(wait=False)
        # Its history is a burst of a minute: whoever joined would come when all is done.
        platform.start_consumers(1, 1)
        platform.begin_mlflow()
        self._bring_history()
        trials, champion, objective = self._sweep()
        platform.start_scorer()
        platform.wait_for_api()
        producer = self._go_live()
        self._watch(producer)
        until_us = _get(producer.state.remote()).sent_us
        self._await_stored(plan.live(self._live_us, 0), until_us)
        status, told = self._predict()
        with session(platform.storage) as on:
            balance = books.balance(
                books.stored(on, until_us),
                books.sent(plan.live(self._live_us, 0), self._injections, until_us),
            )
            account = books.verdicts(on, plan, live_us=self._live_us, until_us=until_us)
            quarantined = _quarantined(on)
        return DemoReport(
            readings_stored=balance.stored,
            lost=balance.lost,
            duplicated=balance.duplicated,
            quarantined=quarantined,
            trials=trials,
            champion=champion,
            objective=objective,
            failures_injected=len(self._injections),
            failures_detected=account.detected,
            missed=tuple(
                f"{each.machine} ({each.mode})"
                for each, delay in zip(self._injections, account.delays_us, strict=True)
                if delay is None
            ),
            median_delay_s=account.median_delay_s,
            false_alarms=account.false_alarms,
            false_alarms_per_machine_day=round(account.false_alarms_per_machine_day, 2),
            prediction_status=status,
            prediction=told,
            seconds=round(time.monotonic() - began_s, 1),
            memory_gib=round(books.resident_gib(), 2),
        )

    def _bring_history(self) -> None:
        plan = self._plan
        minutes = plan.history_s / 60
        self._say(f"{plan.machines} pumps send {minutes:.0f} minutes of healthy history")
        began_s = time.monotonic()
        history = plan.history(self._live_us)
        self._platform.start_producer(history)
        self._await_stored(history, self._live_us)
        elapsed_s = time.monotonic() - began_s
        self._say(f"history is stored ({elapsed_s:.1f} s with the actors' start)")

    def _await_stored(self, producing: Any, until_us: int) -> None:
        """Await that the last reading of every machine before an instant is stored."""
        keys = books.sent(producing, getattr(self, "_injections", ()), until_us)
        last = {name: int(instants[-1]) for name, instants in keys.items()}

        def there() -> bool:
            with session(self._platform.storage) as on:
                newest = latest_instants(on)
            return all(newest.get(name, 0) >= instant for name, instant in last.items())

        _until(there, within_s=_STORE_WITHIN_S, what="the readings sent are not stored")

    def _sweep(self) -> tuple[int, str, float | None]:
        from tuning.sweep import run_sweep

        self._say("sweep: learning what healthy looks like, without a label")
        tuning = replace(self._platform.settings.tuning(), trials=self._plan.trials)
        outcome = run_sweep(self._platform.storage, tuning, say=self._say)
        champion = f"{outcome.machine_class} v{outcome.version}" if outcome.promoted else ""
        return outcome.trials, champion, outcome.objective

    def _go_live(self) -> Any:
        plan, platform = self._plan, self._platform
        producer = platform.start_producer(plan.live(self._live_us, _wall_us()), number=1)
        _until(
            lambda: _get(producer.state.remote()).live,
            within_s=_STORE_WITHIN_S,
            what="the fleet is not live",
        )
        self._injections = plan.injections(_get(producer.state.remote()).sent_us)
        for each in self._injections:
            _get(
                producer.inject.remote(
                    each.machine,
                    each.mode,
                    onset_us=each.onset_us,
                    develop_s=each.develop_s,
                    duration_s=each.duration_s,
                )
            )
        self._say(
            f"the fleet is live at {plan.speed:g} times real speed; "
            f"{len(self._injections)} machines are going to fail"
        )
        return producer

    def _watch(self, producer: Any) -> None:
        """Await the end of the last failure, telling each incident as it is raised."""
        end_us = max(each.end_us for each in self._injections)
        told: set[int] = set()

        def over() -> bool:
            self._tell(told)
            if _get(producer.state.remote()).sent_us < end_us:
                return False
            return self._scored_us() >= end_us

        seconds = (end_us - self._live_us) / 1e6 / self._plan.speed
        _until(
            over, within_s=2 * seconds + _STORE_WITHIN_S, what="the stream is not scored in time"
        )
        self._tell(told)

    def _scored_us(self) -> int:
        from storage.verdicts import scored_until

        with session(self._platform.storage) as on:
            until = scored_until(on)
        return min(until.values()) if len(until) == self._plan.machines else 0

    def _tell(self, told: set[int]) -> None:
        from storage.history import microseconds
        from storage.incidents import incidents

        with session(self._platform.storage) as on:
            found = incidents(on, limit=1000)
        onsets = {each.machine: each for each in self._injections}
        for one in sorted(found, key=lambda row: row.id):
            if one.id in told:
                continue
            told.add(one.id)
            cause = onsets.get(one.machine)
            after_s = (microseconds(one.opened) - (cause.onset_us if cause else 0)) / 1e6
            truth = (
                f"{cause.mode} began {after_s:.0f} s before"
                if cause and after_s >= 0
                else "no failure was injected: a false alarm"
            )
            self._say(f"incident on {one.machine}: {one.root_sensor} ({truth})")

    def _predict(self) -> tuple[int, str]:
        """Ask for one prediction over HTTP: the worst moment of the first failing machine."""
        import httpx

        each = self._injections[0]
        at_us = each.onset_us + round(each.develop_s * 1e6)
        with session(self._platform.storage) as on:
            window = read_history(on, [each.machine], at_us - 60_000_000, at_us)[0]
            names = _sensor_names(on, each.machine)
        body = {
            "machine_id": each.machine,
            "readings": [
                {
                    "timestamp": format_instant(int(instant)),
                    "values": {
                        name: value
                        for name, value in zip(names, row, strict=True)
                        if isfinite(value)
                    },
                }
                for instant, row in zip(window.instants_us, window.values.tolist(), strict=True)
            ],
        }
        try:
            answer = httpx.post(f"{self._platform.api}/api/v1/predict", json=body, timeout=30.0)
        except httpx.HTTPError as error:
            return 0, f"no answer: {error}"
        told = answer.json()
        if answer.status_code != 200:
            return answer.status_code, str(told.get("detail", told))
        return answer.status_code, sentence(told)


def _sensor_names(on: Any, machine: str) -> tuple[str, ...]:
    from storage.roster_store import load

    roster = load(on)
    return roster.class_of(roster.machines[machine]).sensor_names


def _quarantined(on: Any) -> int:
    from storage.quarantine import counts

    return sum(counts(on).values())


def _until(condition: Callable[[], bool], *, within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceUnavailableError(
                "the demonstration", f"{what} after {within_s:.0f} s", "Its logs are in its home"
            )
        time.sleep(_POLL_S)


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference, timeout=60)


def _wall_us() -> int:
    return time.time_ns() // 1000
