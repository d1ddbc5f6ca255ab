"""Movements in a real PostgreSQL: written once, listed by page, and shown with incidents."""

from datetime import datetime, timedelta

from domain.told import Moved, Movement
from storage import movements, verdicts
from storage.connect import session
from storage.history import instant
from storage.movements import Told
from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import START_US, Site
from tests.webhook_support import incident

S = 1_000_000


def _told(began_s: int, settled_s: int | None, *, peak: float = 2.0, key: int = 1) -> Told:
    """Return a movement of the flow, in seconds after the start."""
    after = None if settled_s is None else 118.0
    movement = Movement(
        began_us=START_US + began_s * S,
        settled_us=None if settled_s is None else START_US + settled_s * S,
        peak_score=peak,
        sensors=(
            Moved(sensor="flow", share=0.75, before=125.0, after=after),
            Moved(sensor="current", share=0.25, before=None, after=None),
        ),
    )
    return Told(machine_key=key, model_version=3, movement=movement)


def _moment(seconds: int) -> datetime:
    return instant(START_US + seconds * S)


def test_a_movement_told_again_is_stored_once_and_one_that_is_over_stays(
    database: StorageSettings,
) -> None:
    """By machine and beginning; what goes on is given back to a scorer that starts anew."""
    serve_support.fill(database)
    with session(database) as on:
        movements.write(on, [_told(10, None, peak=1.5)])
        movements.write(on, [_told(10, None)])
        going_on = movements.going_on(on)
        movements.write(on, [_told(10, 40), _told(60, None, key=2)])
        movements.write(on, [_told(10, None, peak=9.0)])
        (over,) = movements.listed(on, "pump-1")

    assert going_on == {1: _told(10, None).movement}
    assert (over.began, over.settled, over.peak_score) == (_moment(10), _moment(40), 2.0)
    assert (over.sensor, over.model_version) == ("flow", 3)
    assert over.sensors == _told(10, 40).movement.sensors


def test_an_incident_has_the_movements_within_it_and_shortly_before(
    database: StorageSettings,
) -> None:
    """One that was over long before, or began after its last sign, is another story."""
    serve_support.fill(database)
    began_s, long_s = 1000, round(movements.BEFORE / timedelta(seconds=1))
    spans = [
        (10, began_s - long_s - 1),
        (began_s - long_s, began_s - 100),
        (began_s + 5, began_s + 30),
        (began_s + 300, None),
    ]
    with session(database) as on:
        movements.write(on, [_told(*span) for span in spans])
        movements.write(on, [_told(began_s, None, key=2)])
        began_us, last_us = START_US + began_s * S, START_US + (began_s + 200) * S
        one = incident(1, began_us=began_us, opened_us=began_us, last_seen_us=last_us)
        number = verdicts.open_incident(on, one)
        live = movements.of_incidents(on, [number])
        closed = incident(
            1,
            began_us=began_us,
            opened_us=began_us,
            last_seen_us=last_us,
            closed_us=last_us + 60 * S,
            close_reason="quiet",
        )
        verdicts.update_incident(on, closed)
        over = movements.of_incidents(on, [number])

    assert [each.began for each in live[number]] == [_moment(first) for first, _ in spans[1:]]
    assert [each.began for each in over[number]] == [_moment(first) for first, _ in spans[1:3]]


def test_movements_are_listed_over_http_by_page(database: StorageSettings) -> None:
    """Newest first; a machine that nobody knows is no machine that never moved."""
    serve_support.fill(database)
    with session(database) as on:
        movements.write(on, [_told(at, at + 5) for at in (10, 30, 50)])
    site = Site(database)
    path = "/api/v1/machines/pump-1/movements"
    first = site.ask(f"{path}?limit=2").json()
    rest = site.ask(f"{path}?limit=2&cursor={first['next_cursor']}").json()
    never, nobody = (site.ask(f"/api/v1/machines/{one}/movements") for one in ("pump-2", "x"))
    site.pool.close()

    told = [*first["items"], *rest["items"]]
    assert [datetime.fromisoformat(one["began"]) for one in told] == [
        _moment(50),
        _moment(30),
        _moment(10),
    ]
    assert rest["next_cursor"] is None
    assert told[0]["sensors"][0] == {
        "sensor": "flow",
        "share": 0.75,
        "before": 125.0,
        "after": 118.0,
    }
    assert (never.status_code, never.json()["items"]) == (200, [])
    assert nobody.status_code == 404
