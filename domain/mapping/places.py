"""Where something stands in a message: a path into its JSON, its key, a header, or a fixed text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from domain.wire.raw import Headers

type Step = str | int
"""A field of an object, or a position in a list."""

_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,6})\]|\['([^']+)'\]|\[\"([^\"]+)\"\]")
PATH_HELP = "a path such as $.data.flow, $.points[0].v or $['oil temp']"
PLACE_HELP = f"{PATH_HELP}, key, or header:NAME"

MISSING = object()
"""What `Place.find` returns where there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message that was opened.

    Attributes:
        key: Its key.
        headers: Its headers.
        body: Its value as JSON is read: dict, list, str, int, float, bool or None.
    """

    key: bytes | None
    headers: Headers
    body: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to look; exactly one of the four is set.

    Attributes:
        text: As the owner wrote it, for messages to people.
        steps: The way into the body.
        key: The message's key.
        header: A header of this name, in any case; the last of several counts.
        fixed: The same for every message.
    """

    text: str
    steps: tuple[Step, ...] | None = None
    key: bool = False
    header: str | None = None
    fixed: str | None = None

    def find(self, message: Envelope) -> object:
        """Return what stands there: text for key and headers, `MISSING` where there is nothing.

        Raises:
            UnicodeDecodeError: A key or header is no UTF-8 text.
        """
        if self.steps is not None:
            return walk(message.body, self.steps)
        if self.fixed is not None:
            return self.fixed
        found = message.key if self.key else _header(message.headers, self.header or "")
        return MISSING if found is None else found.decode()


def parse_path(text: str) -> tuple[Step, ...]:
    """Return the steps of a path: the part of JSONPath (RFC 9535) that names one place.

    >>> parse_path("$.points[0]['oil temp']")
    ('points', 0, 'oil temp')

    Raises:
        ValueError: It is no such path.
    """
    steps: list[Step] = []
    at = 1
    while text.startswith("$") and at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            break
        name, position, single, double = found.groups()
        steps.append(int(position) if position is not None else name or single or double)
        at = found.end()
    if not text.startswith("$") or at < len(text):
        raise ValueError(f"{text!r} is not {PATH_HELP}")
    return tuple(steps)


def parse_place(text: str, *, fixed: bool = False) -> Place:
    """Return the place a text names.

    Args:
        text: A path, `key`, `header:NAME`, or `name:NAME` for a fixed text.
        fixed: Whether a fixed text makes sense here.

    Raises:
        ValueError: It names none.
    """
    if text == "key":
        return Place(text=text, key=True)
    kind, colon, name = text.partition(":")
    if colon and name and kind == "header":
        return Place(text=text, header=name)
    if colon and name and kind == "name" and fixed:
        return Place(text=text, fixed=name)
    if not text.startswith("$"):
        more = ", or name:NAME for all messages" if fixed else ""
        raise ValueError(f"{text!r} is not {PLACE_HELP}{more}")
    return Place(text=text, steps=parse_path(text))


def walk(body: object, steps: Sequence[Step]) -> object:
    """Return what stands at the end of a path, `MISSING` where the way ends before."""
    here = body
    for step in steps:
        # Every value of every message goes through here, and patterns take thrice as long.
        if type(here) is dict:
            here = here.get(step, MISSING)
        elif type(here) is list and type(step) is int and step < len(here):
            here = here[step]
        else:
            return MISSING
    return here


def _header(headers: Headers, name: str) -> bytes | None:
    wanted = name.lower()
    return next((value for given, value in reversed(headers) if given.lower() == wanted), None)
