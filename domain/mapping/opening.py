"""A foreign message opened, and what stands where in it."""

from typing import Any

import msgspec

from domain.mapping.places import MISSING, Envelope, Place
from domain.wire import MAX_BYTES, RawBatch, RejectReason
from domain.wire.arbiter import RefusedError

_R = RejectReason
_DECODER = msgspec.json.Decoder()


def opened(raw: RawBatch, row: int) -> Envelope:
    """Return a message of a batch.

    Raises:
        RefusedError: It has no value, is too large, or no JSON.
    """
    value = raw.values[row]
    if value is None:
        raise RefusedError(_R.TOMBSTONE, "the message has no value")
    if len(value) > MAX_BYTES:
        raise RefusedError(_R.TOO_LARGE, f"{len(value)} bytes; at most {MAX_BYTES} are read")
    try:
        value.decode()
        body: object = _DECODER.decode(value)
    except UnicodeDecodeError as error:
        raise RefusedError(_R.NOT_UTF8, f"byte {error.start} is no UTF-8 text") from None
    except RecursionError:
        raise RefusedError(_R.TOO_DEEP, "it is nested too deeply") from None
    except msgspec.ValidationError:
        raise RefusedError(_R.BAD_NUMBER, "a number leaves the range of numbers") from None
    except msgspec.DecodeError as error:
        raise RefusedError(_R.NOT_JSON, f"it is no JSON: {error}") from None
    headers = None if raw.headers is None else raw.headers[row]
    return Envelope(key=raw.keys[row], headers=headers or [], body=body)


def found_at(place: Place, message: Envelope) -> Any:
    """Return what stands at a place.

    Raises:
        RefusedError: Nothing does, or it is no text.
    """
    try:
        found = place.find(message)
    except UnicodeDecodeError:
        raise RefusedError(_R.NOT_UTF8, f"{place.text} is no UTF-8 text") from None
    if found is MISSING:
        raise RefusedError(_R.MISSING_FIELD, f"there is nothing at {place.text}")
    return found


def wrong_type(origin: str, wanted: str, found: object) -> RefusedError:
    """Return the refusal of something of the wrong type."""
    told = {bool: "true or false", str: "text", dict: "an object", list: "a list"}
    is_ = "null" if found is None else told.get(type(found), "a number")
    return RefusedError(_R.WRONG_TYPE, f"{origin} is {is_}; it must be {wanted}")
