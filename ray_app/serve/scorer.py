"""Answers predict requests: what is known, what was stored before, and the model, put together."""

from typing import Protocol

from domain.anew import acting, in_effect
from domain.care import is_cold
from domain.errors import NotFoundError, PlatformError
from domain.readings import History, Matrix
from domain.risk.outlook import Failure
from domain.risk.steps import first_step
from ray_app.beginnings import Beginning, PastReadings, beginning
from ray_app.champions import Champions, await_refresh
from ray_app.known import Champion
from ray_app.risk_watch import PastSteps, book_of
from ray_app.serve import windows
from ray_app.serve.schema import Prediction, Predictions, PredictRequest
from ray_app.serve.verdict import Own, predict

INLINE_ROWS = 256
"""A request of no more rows is scored at once; a larger one would keep others waiting."""


_MOST_LEVELS = 4096
"""Machines whose level is kept after a repair; then all are forgotten and made again."""


class Past(PastReadings, PastSteps, Protocol):
    """Where stored readings come from."""

    def newest(self, machine: str, rows: int) -> History:
        """Return at most `rows` newest readings of a machine."""

    def first_us(self, machine: str) -> int | None:
        """Return the instant of a machine's oldest stored reading; None if it has none."""


class Scorer:
    """Scores requests with the champions in use.

    Args:
        champions: What is loaded.
        past: Stored readings, to complete short windows of registered machines.
    """

    def __init__(self, champions: Champions, past: Past) -> None:
        self._champions, self._stored = champions, past
        self._levels: dict[tuple[str, int], dict[int, Matrix]] = {}

    def is_quick(self, request: PredictRequest) -> bool:
        """Say whether the answer needs neither Postgres nor long: it may be made in the loop."""
        if request.requests is not None or request.machine_id is not None:
            return False
        known = self._champions.known
        return (
            request.machine_class in known.champions and len(request.readings or ()) <= INLINE_ROWS
        )

    def answer(self, request: PredictRequest) -> Prediction | Predictions:
        """Score what is asked for.

        Raises:
            RefusedError: The request is wrong (422).
            NotFoundError: A machine or class is not registered.
            NoChampionError: A class has no champion yet.
        """
        wanted = windows.asked(request)
        results = [self._one(window) for window in wanted]
        return results[0] if request.requests is None else Predictions(results=results)

    def _one(self, window: windows.Asked) -> Prediction:
        if window.machine_id is None:
            champion = self._of_class(window.machine_class or "")
        else:
            champion = self.champion_of(window.machine_id)
        if window.machine_id is not None and not window.readings:
            newest, past = self.newest(champion, window.machine_id)
            own, failure = self.own(champion, newest), self.failure(champion, newest)
            return predict(champion, newest, context=past, own=own, failure=failure)
        instants, values = windows.columns(window, champion.pipeline.machine_class)
        given = History(machine=window.machine_id or "", instants_us=instants, values=values)
        context, note = self.past(champion, given) if window.use_stored else (None, "")
        return predict(
            champion,
            given,
            context=context,
            own=self.own(champion, given, note),
            failure=self.failure(champion, given, use_stored=window.use_stored),
        )

    def failure(
        self, champion: Champion, given: History, *, use_stored: bool = True
    ) -> Failure | None:
        """Return the risk from the machine's stored steps and those of the window.

        Args:
            champion: What scores it.
            given: The window.
            use_stored: Whether what was stored before it counts.
        """
        risk = champion.risk
        if risk is None:
            return None
        machine = given.machine if use_stored else ""
        said = self._champions.known.care_of(given.machine).anew_us
        word = in_effect(said, int(given.instants_us[-1]))
        later = given.instants_us >= first_step(word, risk.step_us)
        try:
            book = book_of(self._stored, machine, risk, int(given.instants_us[0]), word)
        except PlatformError as error:
            reason = f"the machine's stored readings could not be read: {error}"
            return Failure(reason=reason, risk_version=risk.version)
        book.see(given.instants_us[later], given.values[later])
        return risk.outlook(book.begins_us, book.values)

    def own(self, champion: Champion, given: History, note: str = "") -> Own:
        """Return what is a machine's own beside the readings it was asked about.

        Args:
            champion: What scores it.
            given: The window; of a machine that is not registered where it has no name.
            note: What limits the score already, in words.
        """
        if not given.machine:
            return Own(note=note)
        care = self._champions.known.care_of(given.machine)
        if not is_cold(champion.pipeline, given.machine):
            return Own(care=care, note=note)
        first_us = int(given.instants_us[0])
        try:
            stored = self._stored.first_us(given.machine)
        except PlatformError as error:
            note = note or f"the machine's stored readings could not be read: {error}"
        else:
            first_us = first_us if stored is None else min(stored, first_us)
        return Own(care=care, first_us=first_us, note=note)

    def champion_of(self, name: str) -> Champion:
        """Return what scores a registered machine.

        Raises:
            NotFoundError: It is not registered.
            NoChampionError: Its class has no champion yet.
        """
        known = await_refresh(self._champions, lambda one: name in one.roster.machines)
        machine = known.roster.machines.get(name)
        if machine is None:
            raise NotFoundError(
                "machine",
                name[:128],
                "GET /api/v1/machines lists them; for one that is not registered give "
                "`machine_class` instead of `machine_id`",
            )
        return known.champion(machine.machine_class)

    def newest(self, champion: Champion, machine: str) -> tuple[History, Beginning]:
        """Return a machine's newest stored reading, and those before it that fill the window.

        Raises:
            NotFoundError: It never sent one.
        """
        found = self._stored.newest(machine, champion.pipeline.warmup_rows + 1)
        if not len(found):
            raise NotFoundError("stored reading of", machine, "Give `readings` with the request")
        found = found.widened(len(champion.pipeline.machine_class.sensors))
        newest = found.take(slice(-1, None))
        if in_effect(self._words(champion, machine), int(newest.instants_us[0])) is None:
            return newest, Beginning(past=found.take(slice(-1)))
        return newest, self._beginning(champion, newest, champion.pipeline.warmup_rows)

    def past(
        self, champion: Champion, given: History, *, dated: bool = True
    ) -> tuple[Beginning | None, str]:
        """Return the stored readings that complete a window, and why there are none, in words.

        Args:
            champion: What scores it.
            given: The window.
            dated: Whether its instants are true; else it is of now, and nothing lies before it.
        """
        # One more than fills the window: the first reading has nothing to be compared with.
        lacking = champion.pipeline.warmup_rows + 1 - len(given)
        words, first_us = self._words(champion, given.machine), int(given.instants_us[0])
        if not dated:
            # What was before the newest word is not its level; what came after it nobody gave.
            nothing = given.take(slice(0))
            return (Beginning(past=nothing, words=(first_us,)) if words else None), ""
        if not given.machine or (lacking <= 0 and in_effect(words, first_us - 1) is None):
            return None, ""
        try:
            return self._beginning(champion, given, max(lacking, 0)), ""
        except PlatformError as error:
            return None, f"the machine's stored readings could not be read: {error}"

    def _words(self, champion: Champion, machine: str) -> tuple[int, ...]:
        care = self._champions.known.care_of(machine)
        return acting(champion.pipeline, machine, care.anew_us)

    def _beginning(self, champion: Champion, given: History, rows: int) -> Beginning:
        words = self._words(champion, given.machine)
        return beginning(
            champion.pipeline,
            self._stored,
            given.machine,
            int(given.instants_us[0]),
            rows,
            words,
            self._levels_of(champion, given.machine) if words else None,
        )

    def _levels_of(self, champion: Champion, machine: str) -> dict[int, Matrix]:
        if len(self._levels) >= _MOST_LEVELS:
            self._levels.clear()
        return self._levels.setdefault((machine, champion.version), {})

    def _of_class(self, wanted: str) -> Champion:
        known = await_refresh(self._champions, lambda one: wanted in one.champions)
        if wanted not in known.roster.classes and wanted not in known.champions:
            names = ", ".join(sorted(known.roster.classes)) or "none yet"
            raise NotFoundError("machine class", wanted[:128], f"Registered are: {names}")
        return known.champion(wanted)
