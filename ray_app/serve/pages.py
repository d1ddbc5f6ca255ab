"""Cursors: an opaque text that says where the next page begins."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ray_app.serve.problems import FieldProblem, RefusedError


def encode(place: Any) -> str:
    """Return a cursor for a place.

    >>> encode(["pump-1"])
    'WyJwdW1wLTEiXQ'
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def cut[T](
    found: Sequence[T], limit: int, place: Callable[[T], Any]
) -> tuple[Sequence[T], str | None]:
    """Return a page, and the cursor of the one after it; None where there is none.

    Args:
        found: One more than the page holds, where there is one.
        limit: How many the page holds.
        place: Of its last item: where the next page begins.

    >>> cut([1, 2, 3], 2, lambda last: [last])
    ([1, 2], 'WzJd')
    >>> cut([1, 2], 2, lambda last: [last])
    ([1, 2], None)
    """
    items = found[:limit]
    return items, encode(place(items[-1])) if len(found) > limit else None


def decode[T](cursor: str, wanted: type[T]) -> T:
    """Return the place of a cursor.

    >>> decode('WyJwdW1wLTEiXQ', list[str])
    ['pump-1']

    Raises:
        RefusedError: It is not one of ours (422).
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=wanted)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        problem = FieldProblem(detail="is not a cursor that this API gave", pointer="/cursor")
        raise RefusedError(422, "Invalid request", f"cursor {problem.detail}", (problem,)) from None
