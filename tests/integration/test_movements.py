"""Movements in a real PostgreSQL: written once, listed by page, and shown with incidents."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from domain.conditions import Condition
from domain.told import Moved, Movement, SensorDid
from domain.webhooks import Format, body_of
from storage import incidents, movements, outbox, verdicts, webhooks
from storage.connect import session
from storage.history import instant
from storage.movements import Told
from storage.settings import StorageSettings
from tests import serve_support
from tests.serve_support import START_US, Site, listening
from tests.webhook_support import SECRET, incident

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


@pytest.fixture
def told(database: StorageSettings) -> Iterator[Site]:
    """Return a fleet after its troubles: all is quiet, two incidents and two movements are over."""
    serve_support.fill(database)
    serve_support.promote(database, 1, serve_support.package(1))
    began_us, last_us = START_US + 500 * S, START_US + 530 * S
    times: dict[str, Any] = {"began_us": began_us, "opened_us": began_us, "last_seen_us": last_us}
    over: dict[str, Any] = {"closed_us": last_us + 60 * S, "close_reason": "quiet"}
    stuck = SensorDid(
        sensor="current",
        condition=Condition.STUCK,
        since=_moment(490),
        value=2.5,
        words="stood still at 2.5 since 2026-01-02 00:08:10 UTC",
    )
    with session(database) as on:
        for again in range(2):
            later = {name: at + again * 20 * S for name, at in times.items()}
            verdicts.open_incident(on, incident(1, **later))
            verdicts.update_incident(on, incident(1, **later, **over))
        of_sensor = incident(2, "sensor", **times, root_sensor="current", faults=(stuck,))
        verdicts.open_incident(on, of_sensor)
        verdicts.update_incident(on, replace(of_sensor, **over))
        movements.write(on, [_told(480, 510), _told(560, 580)])
        state = verdicts.State(
            machine_key=1, instant_us=START_US + 599 * S, score=0.4, model_version=1, quality={}
        )
        verdicts.write_states(on, [state])
    site = Site(database)
    site.champions.refresh()
    yield site
    site.pool.close()


def test_the_fleet_page_shows_what_is_over_and_what_sensors_did(told: Site) -> None:
    """Nothing is open, but a day's closed incidents are there with links; words tell the fault."""
    page = told.ask("/").text

    assert "Nothing is open" in page
    assert "3 closed lately" in page
    assert page.count('href="/machines/pump-1#incident-') == 2
    assert "stood still at 2.5 since 2026-01-02 00:08:10 UTC" in page
    assert ">00:08:00</time>–<time" in page
    assert "mostly flow" in page


def test_incidents_of_long_before_are_not_on_the_fleet_page(
    told: Site, database: StorageSettings
) -> None:
    """A day of readings later they are found on their machines' pages."""
    with session(database) as on:
        state = verdicts.State(
            machine_key=2,
            instant_us=START_US + 90_000 * S,
            score=0.4,
            model_version=1,
            quality={},
        )
        verdicts.write_states(on, [state])

    assert "all quiet" in told.ask("/").text
    assert "closed lately" not in told.ask("/").text


def test_a_machine_page_marks_movements_and_says_an_unknown_mode_once(told: Site) -> None:
    """Turns within the timeline, a list with levels, and the movement on each incident's card."""
    page = told.ask("/machines/pump-1?minutes=60").text

    assert page.count('class="turn"') == 4 * page.count('<svg viewBox="0 -2 720 88"')
    assert "<td>125</td><td>118 <small>g</small></td>" in page
    assert page.count("Failure mode unknown of 2 of them") == 1
    assert page.count("Failure mode unknown") == 1
    assert page.count("Moved <time") == 2
    assert 'id="incident-1"' in page


def test_webhooks_and_http_say_what_a_sensor_did(told: Site, database: StorageSettings) -> None:
    """The same words everywhere."""
    with session(database) as on:
        webhooks.add(on, "http://127.0.0.1:9/hook", Format.JSON, SECRET, who="ada")
        number = incidents.incidents(on, machine="pump-2")[0].id
        outbox.enqueue(on, [number], "closed")
        (message,) = outbox.claim(on, most=1, lease_s=60)
    alert = body_of(Format.ALERTMANAGER, message.id, message.event, datetime.now(UTC)).decode()
    listed = told.ask("/api/v1/incidents?machine_id=pump-2").json()["items"]

    assert [one["condition"] for one in listed[0]["faults"]] == ["stuck"]
    assert listed[0]["faults"][0]["words"].startswith("stood still at 2.5")
    assert message.event["incident"]["faults"][0]["words"] == listed[0]["faults"][0]["words"]
    assert "pump-2: current stood still at 2.5 since" in alert
    assert told.ask("/api/v1/incidents?machine_id=pump-1").json()["items"][0]["faults"] == []


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_of_a_quiet_fleet_fit_a_real_browser(
    told: Site, tmp_path: Path, width: int, scheme: str
) -> None:
    """Nothing runs over the edge and no script complains."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    errors: list[str] = []
    with listening(told) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        for name, path in (("fleet", "/"), ("machine", "/machines/pump-1?minutes=60")):
            page.goto(f"{url}{path}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)
        browser.close()

    assert errors == []
