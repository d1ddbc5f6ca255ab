"""What webhooks are sent and how it is signed; `docs/webhooks.md` tells receivers. Pure."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec

from domain.errors import BadInputError

MAX_ATTEMPTS: Final = 16
"""An undeliverable event is dead after so many; with the pauses below that is about 3.5 hours."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 1800.0

SHORTEST_SECRET: Final = 16
"""Characters; fewer can be guessed."""

_LONGEST = 2000
_ALIVE_S: Final = 3600.0
"""An Alertmanager keeps an alert for so long after it last heard of it."""


class Format(StrEnum):
    """Shape of the body: ours, or what Alertmanager's `POST /api/v2/alerts` takes."""

    JSON = "json"
    ALERTMANAGER = "alertmanager"


def checked_url(url: str) -> str:
    """Return a URL that may be a webhook's.

    Raises:
        BadInputError: It is not http or https, names no host, carries a password or a fragment.
    """
    where = "webhook URL"
    try:
        parts = urlsplit(url.strip())
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise BadInputError(f"it is no URL: {error}", where) from None
    if parts.scheme not in {"http", "https"}:
        raise BadInputError(
            f"its scheme is {parts.scheme[:20]!r}", where, "http:// and https:// are understood"
        )
    if not host:
        raise BadInputError("it names no host", where, "Write https://host/path")
    if "@" in parts.netloc:
        raise BadInputError(
            "it carries a user or password, which would end in logs",
            where,
            "Let the receiver check the signature instead",
        )
    if parts.fragment:
        raise BadInputError("it has a fragment (#…), which is never sent", where)
    if len(url) > _LONGEST or any(char.isspace() or not char.isprintable() for char in url.strip()):
        raise BadInputError(f"it is longer than {_LONGEST} or has blanks in it", where)
    _check_address(host)
    return url.strip()


def _check_address(host: str) -> None:
    try:
        address = ip_address(host)
    except ValueError:
        return
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise BadInputError(
            f"{host} is no address of a receiver", "webhook URL", "Link-local ones are refused"
        )


def shown_url(url: str) -> str:
    """Return a URL as lists and logs show it: without its query, and without tokens in its path.

    >>> shown_url("https://hooks.example/services/T01234567/alerts?key=secret")
    'https://hooks.example/services/…/alerts?…'
    """
    parts = urlsplit(url)
    query = "…" if parts.query else ""
    path = "/".join("…" if _is_token(one) else one for one in parts.path.split("/"))
    return urlunsplit(SplitResult(parts.scheme, parts.netloc, path, query, ""))


def _is_token(segment: str) -> bool:
    return len(segment) >= 20 or (len(segment) >= 8 and any(map(str.isdigit, segment)))


def checked_secret(secret: str, wanted: Format) -> str:
    """Return a secret that may sign; only Alertmanager, which checks none, may have none.

    Raises:
        BadInputError: It is too short or too long; what it is is not repeated.
    """
    if not secret and wanted is Format.ALERTMANAGER:
        return ""
    if not SHORTEST_SECRET <= len(secret) <= 256:
        raise BadInputError(
            f"it has {len(secret)} characters, {SHORTEST_SECRET} to 256 are needed",
            "webhook secret",
            "`openssl rand -hex 32` makes one",
        )
    if "\0" in secret:
        raise BadInputError("it holds the character NUL, which cannot be stored", "webhook secret")
    return secret


def signature(secret: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of `X-Millwright-Signature`: HMAC-SHA256 over `timestamp.body`, in hex.

    >>> signature("0123456789abcdef", 1767323045, b'{"id":"1"}')
    'v1=113b15860f3304cf75b59c00ba0863f3fd954785ab540fd07675962c1de6d7b6'
    """
    signed = f"{timestamp_s}.".encode() + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def next_pause_s(attempts: int) -> float:
    """Return how long to wait after so many failed attempts: 2, 4, 8, … seconds, half an hour.

    >>> next_pause_s(1), next_pause_s(3), next_pause_s(40)
    (2.0, 8.0, 1800.0)
    """
    return float(min(_FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 30), _LONGEST_PAUSE_S))


def body_of(wanted: Format, number: int, event: Mapping[str, Any], now: datetime) -> bytes:
    """Return the body of one delivery.

    Args:
        wanted: Its shape.
        number: Of the delivery: the same one, sent again, has the same.
        event: What happened: `event`, `at` and the `incident` after it.
        now: The present, UTC.
    """
    if wanted is Format.JSON:
        return msgspec.json.encode({"id": str(number), **event})
    return msgspec.json.encode([_alert(event, now)])


def _alert(event: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return one alert; equal labels are the same alert to Alertmanager."""
    one = event["incident"]
    ends = _moment(one["closed"]) if one["closed"] else None
    # A replayed or accelerated fleet lives in a time of its own: no alert ends in the future.
    until = min(ends, now) if ends else _later(now)
    began = min(_moment(one["began"]), until)
    return {
        "labels": {
            "alertname": "MillwrightIncident",
            "machine": one["machine"],
            "machine_class": one["machine_class"],
            "kind": one["kind"],
            "incident": str(one["id"]),
        },
        "annotations": {
            "summary": f"{one['machine']}: {_what(one)} ({one['kind']} incident)",
            "severity": one["severity"],
            "root_sensor": one["root_sensor"],
            "peak_score": f"{one['peak_score']:.4g}",
            "event": event["event"],
        },
        "startsAt": _rfc3339(began),
        "endsAt": _rfc3339(until),
    }


def _what(incident: Mapping[str, Any]) -> str:
    """Return what sensors did in words, or where there is nothing to say which one it is."""
    did = [f"{one['sensor']} {one['words']}" for one in incident.get("faults", ())]
    return "; ".join(did) or str(incident["root_sensor"])


def _later(now: datetime) -> datetime:
    return datetime.fromtimestamp(now.timestamp() + _ALIVE_S, UTC)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
