"""The outbox of webhooks: what is to be told, kept until it was.

`enqueue` runs in the transaction that changes the incident, so that there is no change without its
message and no message without its change. Delivery:

1. `claim` takes what is due and pushes its due time a lease ahead, in a transaction of its own: who
   dies with it in hand loses nothing, for after the lease it is due again.
2. It is sent, outside of any transaction.
3. `settle` says what became of it.

A crash between 2 and 3 sends it again, under the same number: at least once. Of one incident the
messages go to one webhook one after the other, in the order they were written; one that is dead
lets the next one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from storage.connect import Connection, rows

type Change = Literal["opened", "escalated", "closed", "acknowledged", "feedback", "reminder"]

_INCIDENT = """jsonb_build_object('id', i.id, 'machine', m.name, 'machine_class', m.machine_class,
    'kind', i.kind, 'state', i.state, 'severity', i.severity, 'began', i.began,
    'opened', i.opened, 'last_seen', i.last_seen, 'closed', i.closed,
    'close_reason', i.close_reason, 'peak_score', i.peak_score, 'anomalies', i.anomalies,
    'root_sensor', i.root_sensor, 'evidence', i.evidence, 'peaked', i.peaked,
    'failure_mode', i.failure_mode, 'faults', i.faults, 'model_version', i.model_version,
    'acknowledged_by', i.acknowledged_by, 'feedback', i.feedback, 'note', i.note)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one webhook.

    Attributes:
        id: Its number, the same at every attempt.
        webhook_id: Whose.
        url: Where to.
        format: json or alertmanager.
        secret: What signs it; empty for no signature.
        event: What is told.
        attempts: How often it was tried, this time included.
    """

    id: int
    webhook_id: int
    url: str = field(repr=False)
    format: str
    secret: str = field(repr=False)
    event: dict[str, Any] = field(repr=False)
    attempts: int


def enqueue(on: Connection, incidents: Sequence[int], change: Change) -> None:
    """Write one message per webhook and incident, in the transaction of the change."""
    if not incidents:
        return
    rows(
        on,
        "INSERT INTO webhook_deliveries (webhook_id, incident_id, event)"  # noqa: S608 - constants
        " SELECT w.id, i.id, jsonb_build_object('event', 'incident.' || %s, 'at',"
        f" clock_timestamp(), 'incident', {_INCIDENT})"
        " FROM webhooks AS w, incidents AS i JOIN machines AS m ON m.key = i.machine_key"
        " WHERE i.id = ANY(%s::bigint[]) ORDER BY w.id, i.id",
        (change, list(incidents)),
    )


def remind(on: Connection, *, every_s: float) -> int:
    """Tell every Alertmanager again of incidents that live: it forgets; return how many."""
    told = rows(
        on,
        "INSERT INTO webhook_deliveries (webhook_id, incident_id, event)"  # noqa: S608 - constants
        " SELECT w.id, i.id, jsonb_build_object('event', 'incident.reminder', 'at',"
        f" clock_timestamp(), 'incident', {_INCIDENT})"
        " FROM webhooks AS w, incidents AS i JOIN machines AS m ON m.key = i.machine_key"
        " WHERE w.format = 'alertmanager' AND i.closed IS NULL AND NOT EXISTS (SELECT FROM"
        " webhook_deliveries AS d WHERE d.webhook_id = w.id AND d.incident_id = i.id AND (d.state"
        " = 'waiting' OR d.created_at > clock_timestamp() - make_interval(secs => %s)))"
        " RETURNING 1",
        (every_s,),
    )
    return len(told)


def claim(on: Connection, *, most: int, lease_s: float, busy: Sequence[int] = ()) -> list[Delivery]:
    """Take the oldest due message of each webhook, of at most so many; nobody else does meanwhile.

    Args:
        on: A session.
        most: Webhooks.
        lease_s: Seconds until another may take it, longer than an attempt may last.
        busy: Webhooks that are left out.
    """
    found = rows(
        on,
        "WITH heads AS (SELECT DISTINCT ON (d.webhook_id) d.id FROM webhook_deliveries AS d"
        " WHERE d.state = 'waiting' AND d.due_at <= clock_timestamp()"
        " AND d.webhook_id <> ALL(%(busy)s::int[]) AND NOT EXISTS (SELECT FROM"
        " webhook_deliveries AS e WHERE e.state = 'waiting' AND e.webhook_id = d.webhook_id"
        " AND e.incident_id = d.incident_id AND e.id < d.id)"
        " ORDER BY d.webhook_id, d.due_at, d.id LIMIT %(most)s),"
        " taken AS (SELECT d.id FROM webhook_deliveries AS d JOIN heads USING (id)"
        " WHERE d.state = 'waiting' AND d.due_at <= clock_timestamp()"
        " FOR UPDATE OF d SKIP LOCKED)"
        " UPDATE webhook_deliveries AS d SET attempts = d.attempts + 1,"
        " due_at = clock_timestamp() + make_interval(secs => %(lease)s)"
        " FROM taken, webhooks AS w WHERE d.id = taken.id AND w.id = d.webhook_id"
        " RETURNING d.id, w.id, w.url, w.format, w.secret, d.event, d.attempts",
        {"most": most, "lease": lease_s, "busy": list(busy)},
    )
    names = ("id", "webhook_id", "url", "format", "secret", "event", "attempts")
    return [Delivery(**dict(zip(names, row, strict=True))) for row in found]


def settle(on: Connection, one: Delivery, *, error: str, pause_s: float, dead: bool) -> None:
    """Say what became of an attempt.

    Args:
        on: A session.
        one: What was sent.
        error: Why it was not taken; empty when it was.
        pause_s: Seconds until the next attempt.
        dead: Whether there is none.
    """
    state = "delivered" if not error else "dead" if dead else "waiting"
    rows(
        on,
        "UPDATE webhook_deliveries SET state = %(state)s, last_error = %(error)s,"
        " due_at = clock_timestamp() + make_interval(secs => %(pause)s),"
        " settled_at = CASE WHEN %(state)s = 'waiting' THEN NULL ELSE clock_timestamp() END"
        # The lease of who was too slow may have passed, and another have delivered it.
        " WHERE id = %(id)s AND state = 'waiting'",
        {"state": state, "error": error[:500], "pause": pause_s, "id": one.id},
    )


def prune(on: Connection, *, kept_days: int) -> None:
    """Forget what was settled so many days ago."""
    rows(
        on,
        "DELETE FROM webhook_deliveries WHERE settled_at < clock_timestamp() - make_interval("
        "days => %s)",
        (kept_days,),
    )
