"""What sensors did in their open incidents, kept over batches and restarts. Pure."""

from collections.abc import Iterable

from domain.incidents import Change, IncidentEvent
from domain.sensor_story import Watched, told
from domain.told import SensorDid
from ray_app.judged import View
from storage.verdicts import Live


class SensorStories:
    """Remembers what was told of each machine's incident of a sensor; for one thread.

    Args:
        live: Incidents that are open already.
    """

    def __init__(self, live: Iterable[Live]) -> None:
        self._known = {
            one.incident.machine_key: one.incident.faults
            for one in live
            if one.incident.kind == "sensor"
        }

    def tell(self, view: View, event: IncidentEvent) -> tuple[SensorDid, ...]:
        """Return what sensors have done up to a change of their machine's incident."""
        known = () if event.change is Change.OPENED else self._known.get(view.key, ())
        if event.change is Change.CLOSED:
            self._known.pop(view.key, None)
            return known
        seen = Watched(instants_us=view.at, values=view.values, scores=view.scores)
        self._known[view.key] = told(view.champion.pipeline, known, event.incident.began_us, seen)
        return self._known[view.key]
