"""Who is told of incidents: registered webhooks and how their deliveries fare."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.errors import ConflictError, NotFoundError
from domain.webhooks import Format, checked_secret, checked_url, shown_url
from storage.connect import Connection, rows
from storage.outbox import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRow:
    """A webhook as lists show it: never its secret, its URL without the query.

    Attributes:
        id: Its number.
        url: Where it is told.
        format: json or alertmanager.
        signed: Whether a secret signs what it is sent.
        created_by: Who registered it.
        created_at: When.
        waiting: Messages not delivered yet.
        delivered: Delivered in the last week.
        dead: Given up in the last week.
        last_error: Of the newest message that failed and was not delivered since; may be empty.
    """

    id: int
    url: str
    format: str
    signed: bool
    created_by: str
    created_at: datetime
    waiting: int
    delivered: int
    dead: int
    last_error: str


def add(on: Connection, url: str, wanted: Format, secret: str, *, who: str) -> WebhookRow:
    """Register a webhook.

    Raises:
        BadInputError: URL or secret cannot be used.
        ConflictError: It is registered already.
    """
    checked, key = checked_url(url), checked_secret(secret, wanted)
    made = rows(
        on,
        "INSERT INTO webhooks (url, format, secret, created_by) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT DO NOTHING RETURNING id",
        (checked, str(wanted), key, who),
    )
    if not made:
        raise ConflictError(
            f"{shown_url(checked)} is registered already as {wanted}; remove it first"
        )
    return show(on, made[0][0])


def every(on: Connection) -> tuple[WebhookRow, ...]:
    """Return all webhooks, the oldest first."""
    return tuple(_row(row) for row in rows(on, f"{_SELECT} ORDER BY w.id"))


def show(on: Connection, number: int) -> WebhookRow:
    """Return one webhook.

    Raises:
        NotFoundError: There is none of this number.
    """
    found = rows(on, f"{_SELECT} WHERE w.id = %s", (number,))
    if not found:
        raise _missing(number)
    return _row(found[0])


def remove(on: Connection, number: int) -> None:
    """Forget a webhook and what waits for it.

    Raises:
        NotFoundError: There is none of this number.
    """
    if not rows(on, "DELETE FROM webhooks WHERE id = %s RETURNING 1", (number,)):
        raise _missing(number)


def revive(on: Connection, number: int) -> int:
    """Let dead messages of a webhook be tried again; return how many.

    Raises:
        NotFoundError: There is none of this number.
    """
    show(on, number)
    woken = rows(
        on,
        "UPDATE webhook_deliveries SET state = 'waiting', attempts = 0, settled_at = NULL,"
        " due_at = clock_timestamp() WHERE webhook_id = %s AND state = 'dead' RETURNING 1",
        (number,),
    )
    return len(woken)


def sample(on: Connection, number: int) -> Delivery:
    """Return a message that only says that it is a test, to be sent at once and not kept.

    Raises:
        NotFoundError: There is none of this number.
    """
    found = rows(on, "SELECT url, format, secret FROM webhooks WHERE id = %s", (number,))
    if not found:
        raise _missing(number)
    url, shape, secret = found[0]
    now = rows(on, 'SELECT to_char(clock_timestamp(), \'YYYY-MM-DD"T"HH24:MI:SS"+00:00"\')')[0][0]
    event = {"event": "test", "at": now, "incident": _example(now)}
    return Delivery(
        id=0, webhook_id=number, url=url, format=shape, secret=secret, event=event, attempts=1
    )


def _example(now: str) -> dict[str, object]:
    """Return an incident that is over: no Alertmanager keeps it."""
    return {
        "id": 0,
        "machine": "test",
        "machine_class": "test",
        "kind": "machine",
        "state": "closed",
        "severity": "minor",
        "began": now,
        "opened": now,
        "last_seen": now,
        "closed": now,
        "close_reason": "quiet",
        "peak_score": 1.5,
        "anomalies": 6,
        "root_sensor": "test",
        "evidence": [],
        "peaked": now,
        "failure_mode": None,
        "model_version": 0,
        "acknowledged_by": None,
        "feedback": None,
        "note": "sent by `millwright webhook test`",
    }


_SELECT = (
    "SELECT w.id, w.url, w.format, w.secret <> '', w.created_by, w.created_at,"
    " d.waiting, d.delivered, d.dead, d.error FROM webhooks AS w"
    " LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,"
    " count(*) FILTER (WHERE state = 'delivered') AS delivered,"
    " count(*) FILTER (WHERE state = 'dead') AS dead,"
    " coalesce((array_agg(last_error ORDER BY id DESC) FILTER (WHERE last_error <> ''))[1], '')"
    " AS error FROM webhook_deliveries WHERE webhook_id = w.id) AS d ON true"
)


def _row(row: tuple[Any, ...]) -> WebhookRow:
    given = dict(zip(WebhookRow.__dataclass_fields__, row, strict=True))
    return WebhookRow(**(given | {"url": shown_url(str(given["url"]))}))


def _missing(number: int) -> NotFoundError:
    return NotFoundError("webhook", str(number), "`millwright webhook list` shows them")
