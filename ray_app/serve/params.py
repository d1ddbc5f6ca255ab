"""Parameters that several routes take, and who asks."""

import re
from datetime import datetime
from typing import Annotated

from fastapi import Path, Query, Request
from pydantic import AwareDatetime, BeforeValidator, Field

from domain.machines import NAME_PATTERN
from ray_app.serve.problems import RefusedError
from storage.api_keys import Holder, Role

NAME = rf"^{NAME_PATTERN.pattern}$"
"""Names of machines and classes; anything else is refused before Postgres sees it."""

TEXT = r"^[^\x00]*$"
"""Text of a person: Postgres keeps every character but NUL."""

_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")
NUMBER_MOST = 2**63 - 1

type Limit = Annotated[int, Query(ge=1, le=1000, description="At most this many items")]
type Cursor = Annotated[
    str,
    Query(
        max_length=1000,
        pattern=r"^[A-Za-z0-9_-]*$",
        description="`next_cursor` of the page before",
    ),
]
type Number = Annotated[int, Field(ge=1, le=NUMBER_MOST)]
type MachineId = Annotated[str, Path(pattern=NAME, description="Name of a machine")]
type OfMachine = Annotated[
    str | None, Query(alias="machine_id", pattern=NAME, description="Only of this machine")
]
type ClassName = Annotated[str, Path(pattern=NAME, description="Name of a machine class")]


def _is_written(told: object) -> object:
    """Refuse numbers, which pydantic would take as seconds since 1970."""
    if not isinstance(told, datetime) and not (isinstance(told, str) and _DATED.match(told)):
        raise ValueError("is no RFC 3339 time, such as 2026-01-31T12:00:00Z")
    return told


type Moment = Annotated[datetime, BeforeValidator(_is_written)]
type ZonedMoment = Annotated[AwareDatetime, BeforeValidator(_is_written)]
type At = Annotated[
    Moment | None, Query(description="RFC 3339; UTC without a zone, now when left out")
]

HOLDER = "millwright.holder"
"""Where the middleware leaves the holder of the key that was presented."""


def holder(request: Request, role: Role = "operator") -> Holder:
    """Return who asks for a change.

    Raises:
        RefusedError: The role of the key may not do that (403).
    """
    found: Holder = request.scope[HOLDER]
    if not found.may(role):
        raise RefusedError(
            403, "Not allowed", f"{found.name} is a {found.role}; this needs the role {role}"
        )
    return found
