"""Answers predict requests: what is known, what was stored before, and the model, put together."""

from typing import Protocol

from domain.errors import NotFoundError, PlatformError
from domain.readings import History, Instants, Matrix
from domain.risk.outlook import Failure
from ray_app.champions import Champion, Champions, await_refresh
from ray_app.risk_watch import PastSteps, book_of
from ray_app.serve import windows
from ray_app.serve.schema import Prediction, Predictions, PredictRequest
from ray_app.serve.verdict import predict

INLINE_ROWS = 256
"""A request of no more rows is scored at once; a larger one would keep others waiting."""


class Past(PastSteps, Protocol):
    """Where stored readings come from."""

    def before(self, machine: str, instant_us: int, rows: int) -> History:
        """Return at most `rows` newest readings of a machine before an instant."""


class Scorer:
    """Scores requests with the champions in use.

    Args:
        champions: What is loaded.
        past: Stored readings, to complete short windows of registered machines.
    """

    def __init__(self, champions: Champions, past: Past) -> None:
        self._champions, self._past = champions, past

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
        champion = self._champion(window)
        machine_class = champion.pipeline.machine_class
        instants, values = windows.columns(window, machine_class)
        context, note = self._context(window, champion, int(instants[0]), len(instants))
        given = History(machine=window.machine_id or "", instants_us=instants, values=values)
        failure = self._failure(window, champion, instants, values)
        return predict(champion, given, context=context, note=note, failure=failure)

    def _failure(
        self, window: windows.Asked, champion: Champion, instants_us: Instants, values: Matrix
    ) -> Failure | None:
        """Return the risk from the machine's stored steps and those of the window."""
        risk = champion.risk
        if risk is None:
            return None
        machine = (window.machine_id or "") if window.use_stored else ""
        try:
            book = book_of(self._past, machine, risk, int(instants_us[0]))
        except PlatformError as error:
            reason = f"the machine's stored readings could not be read: {error}"
            return Failure(reason=reason, risk_version=risk.version)
        book.see(instants_us, values)
        return risk.outlook(book.begins_us, book.values)

    def _champion(self, window: windows.Asked) -> Champion:
        if window.machine_id is not None:
            name = window.machine_id
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
        wanted = window.machine_class or ""
        known = await_refresh(self._champions, lambda one: wanted in one.champions)
        if wanted not in known.roster.classes and wanted not in known.champions:
            names = ", ".join(sorted(known.roster.classes)) or "none yet"
            raise NotFoundError("machine class", wanted[:128], f"Registered are: {names}")
        return known.champion(wanted)

    def _context(
        self, window: windows.Asked, champion: Champion, first_us: int, given: int
    ) -> tuple[History | None, str]:
        # One more than fills the window: the first reading has nothing to be compared with.
        lacking = champion.pipeline.warmup_rows + 1 - given
        if window.machine_id is None or not window.use_stored or lacking <= 0:
            return None, ""
        try:
            return self._past.before(window.machine_id, first_us, lacking), ""
        except PlatformError as error:
            return None, f"the machine's stored readings could not be read: {error}"
