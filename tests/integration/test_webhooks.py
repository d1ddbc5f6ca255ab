"""Webhooks over a real Postgres to a real HTTP server that takes, fails, hangs and recovers."""

import hashlib
import hmac
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from domain.errors import BadInputError, ConflictError, NotFoundError
from domain.webhooks import MAX_ATTEMPTS, Format
from observability.metric import NoMetrics
from ray_app.courier import Courier, send_now
from storage import incidents, outbox, verdicts, webhooks
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests.ingest_support import until
from tests.webhook_support import SECRET, T0_US, Receiver, incident, machines, receiver


@contextmanager
def delivering(storage: StorageSettings, *, timeout_s: float = 10.0) -> Iterator[None]:
    """Deliver for the time of the block."""
    courier = Courier(storage, NoMetrics(), timeout_s=timeout_s)
    courier.start()
    try:
        yield
    finally:
        courier.close()


def register(storage: StorageSettings, to: Receiver, shape: Format = Format.JSON) -> int:
    """Register a receiver; return its number."""
    with session(storage) as on:
        secret = SECRET if shape is Format.JSON else ""
        return webhooks.add(on, to.url, shape, secret, who="ada").id


def hurry(storage: StorageSettings) -> None:
    """Make what waits for its next attempt due now."""
    with session(storage) as on:
        rows(on, "UPDATE webhook_deliveries SET due_at = now() WHERE state = 'waiting'")


def test_an_incident_is_told_signed_and_in_order(database: StorageSettings) -> None:
    """What opened, got worse and closed comes once each, in this order, with a true signature."""
    (key,) = machines(database, "pump-1")
    with receiver() as hook:
        register(database, hook)
        with session(database) as on:
            number = verdicts.open_incident(on, incident(key))
            verdicts.update_incident(on, incident(key, severity="major", peak_score=9.0))
            verdicts.update_incident(on, incident(key, severity="minor", peak_score=9.5))
            verdicts.update_incident(
                on, incident(key, closed_us=T0_US + 65_000_000, close_reason="quiet")
            )
        with delivering(database):
            until(lambda: len(hook.taken) == 3)

    told = [one.told for one in hook.taken]
    assert [one["event"] for one in told] == [
        "incident.opened",
        "incident.escalated",
        "incident.closed",
    ]
    assert [one["incident"]["severity"] for one in told] == ["minor", "major", "major"]
    assert {one["incident"]["id"] for one in told} == {number}
    assert [one["id"] for one in told] == [str(one.number) for one in hook.taken]
    for one in hook.taken:
        stamp = one.headers["x-millwright-timestamp"]
        signed = hmac.new(SECRET.encode(), stamp.encode() + b"." + one.body, hashlib.sha256)
        assert one.headers["x-millwright-signature"] == f"v1={signed.hexdigest()}"


def test_a_transaction_that_is_rolled_back_tells_nothing(database: StorageSettings) -> None:
    """There is no message of an incident that never was."""
    (key,) = machines(database, "pump-1")
    with receiver() as hook:
        register(database, hook)
        with session(database) as on:
            verdicts.open_incident(on, incident(key))
            on.rollback()
        with session(database) as on:
            assert outbox.claim(on, most=9, lease_s=1.0) == []
            assert incidents.incidents(on) == ()


def test_a_receiver_that_fails_and_hangs_gets_it_once_it_recovers(
    database: StorageSettings,
) -> None:
    """Its messages wait, another's are not held up, and nothing is lost."""
    keys = machines(database, "pump-1", "pump-2")
    with receiver() as ill, receiver() as well:
        number = register(database, ill)
        register(database, well)
        ill.mood = "fail"
        with session(database) as on:
            verdicts.open_incident(on, incident(keys[0]))
        with delivering(database, timeout_s=1.0):
            until(lambda: bool(ill.requests) and len(well.taken) == 1)
            until(lambda: _error(database, number) == "HTTP 500")
            ill.mood = "hang"
            hurry(database)
            until(lambda: len(ill.requests) == 2)
            with session(database) as on:
                verdicts.open_incident(on, incident(keys[1]))
            until(lambda: len(well.taken) == 2)
            until(lambda: _error(database, number) == "no answer within 1 s")
            ill.mood = "take"
            hurry(database)
            until(lambda: len({one.number for one in ill.taken}) == 2)
    with session(database) as on:
        assert (webhooks.show(on, number).waiting, webhooks.show(on, number).delivered) == (0, 2)


def _error(database: StorageSettings, number: int) -> str:
    with session(database) as on:
        return webhooks.show(on, number).last_error


def test_after_so_many_attempts_a_message_is_dead_shown_and_can_be_revived(
    database: StorageSettings,
) -> None:
    """Nobody hears of it by itself any more, and the next message may pass."""
    (key,) = machines(database, "pump-1")
    with receiver() as hook:
        number = register(database, hook)
        hook.mood = "fail"
        with session(database) as on:
            verdicts.open_incident(on, incident(key))
            rows(on, "UPDATE webhook_deliveries SET attempts = %s", (MAX_ATTEMPTS - 1,))
        with delivering(database):
            until(lambda: _dead(database, number) == 1)
            hook.mood = "take"
            with session(database) as on:
                verdicts.update_incident(on, incident(key, closed_us=T0_US + 65_000_000))
            until(lambda: len(hook.taken) == 1)
            with session(database) as on:
                assert webhooks.revive(on, number) == 1
            until(lambda: len(hook.taken) == 2)

    assert [one.told["event"] for one in hook.taken] == ["incident.closed", "incident.opened"]


def _dead(database: StorageSettings, number: int) -> int:
    with session(database) as on:
        return webhooks.show(on, number).dead


def test_alertmanager_gets_alerts_that_live_and_end(database: StorageSettings) -> None:
    """The shape of `POST /api/v2/alerts`; the same labels while it lives and when it is over."""
    (key,) = machines(database, "pump-1")
    with receiver() as hook:
        register(database, hook, Format.ALERTMANAGER)
        with session(database) as on:
            verdicts.open_incident(on, incident(key))
            assert outbox.remind(on, every_s=300.0) == 0, "it waits already"
        with delivering(database):
            until(lambda: len(hook.taken) == 1)
            with session(database) as on:
                assert outbox.remind(on, every_s=300.0) == 0
                assert outbox.remind(on, every_s=0.0) == 1
            until(lambda: len(hook.taken) == 2)
            with session(database) as on:
                verdicts.update_incident(on, incident(key, closed_us=T0_US + 65_000_000))
            until(lambda: len(hook.taken) == 3)

    (first,), (again,), (last,) = (one.told for one in hook.taken)
    assert first["labels"] == again["labels"] == last["labels"]
    assert first["labels"] | {"alertname": "MillwrightIncident"} == first["labels"]
    assert set(first["labels"].values()) > {"pump-1", "blower", "machine"}
    assert first["startsAt"] < last["endsAt"] < first["endsAt"]
    assert last["endsAt"].startswith("2025-06-15T15:07:45")
    assert "x-millwright-signature" not in hook.taken[0].headers


def test_two_couriers_do_not_send_the_same(database: StorageSettings) -> None:
    """What one has in hand the other leaves, until the lease is over."""
    (key,) = machines(database, "pump-1")
    with receiver() as hook:
        register(database, hook)
        with session(database) as on:
            verdicts.open_incident(on, incident(key))
        with session(database) as one, session(database) as two:
            assert len(outbox.claim(one, most=9, lease_s=60.0)) == 1
            assert outbox.claim(two, most=9, lease_s=60.0) == []
        with session(database) as on:
            assert outbox.claim(on, most=9, lease_s=60.0) == []
        hurry(database)
        with session(database) as on:
            (again,) = outbox.claim(on, most=9, lease_s=60.0)
    assert again.attempts == 2


def test_no_secret_shows_anywhere(
    database: StorageSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in rows, errors, reprs or logs; a token in the URL is masked."""
    (key,) = machines(database, "pump-1")
    caplog.set_level(logging.DEBUG)
    url = "http://127.0.0.1:9/services/T0123456789?token=topsecret"
    with session(database) as on:
        made = webhooks.add(on, url, Format.JSON, SECRET, who="ada")
        verdicts.open_incident(on, incident(key))
        with pytest.raises(ConflictError) as twice:
            webhooks.add(on, url, Format.JSON, SECRET, who="ada")
        (delivery,) = outbox.claim(on, most=1, lease_s=60.0)
    error = send_now(delivery)
    with pytest.raises(BadInputError) as short, session(database) as on:
        webhooks.add(on, url + "2", Format.JSON, "topsecret", who="ada")

    assert error.startswith("cannot connect")
    shown = f"{made} {twice.value} {delivery} {error} {short.value} {caplog.text}"
    for secret in (SECRET, "topsecret", "T0123456789"):
        assert secret not in shown
    with session(database) as on:
        webhooks.remove(on, made.id)
        assert rows(on, "SELECT count(*) FROM webhook_deliveries") == [(0,)]
        with pytest.raises(NotFoundError):
            webhooks.remove(on, made.id)


def test_a_database_that_goes_away_stops_no_courier(database: StorageSettings) -> None:
    """It waits and says so; it ends when it is told to."""
    courier = Courier(replace(database, port=1, host="127.0.0.1"), NoMetrics())
    courier.start()
    courier.close()
