"""Keys of the HTTP API. The database holds the SHA-256 of a key, never the key itself.

A key is 256 random bits, so a plain hash cannot be guessed back: no salt, no slow hash, and one
look-up.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from domain.errors import BadInputError, ConflictError, NotFoundError
from storage.connect import Connection, rows

type Role = Literal["reader", "operator", "owner"]

ROLES: tuple[str, ...] = get_args(Role.__value__)
"""Each may do what the ones before it may: read, act on incidents, manage models and keys."""

_PREFIX = "mw_"
"""Makes a leaked key easy to find for secret scanners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who a key belongs to.

    Attributes:
        name: Unique among keys.
        role: What the holder may do.
    """

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Say whether this holder may do what `role` may."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key as a list shows it.

    Attributes:
        holder: Who holds it.
        created_at: UTC.
        revoked: A revoked key opens nothing.
    """

    holder: Holder
    created_at: datetime
    revoked: bool


def create(on: Connection, name: str, role: str) -> str:
    """Make a key and return it; it cannot be shown again.

    Raises:
        BadInputError: There is no such role.
        ConflictError: The name is taken.
    """
    if role not in ROLES:
        raise BadInputError(f"{role!r} is no role", "role", f"Allowed are {', '.join(ROLES)}")
    key = _PREFIX + secrets.token_urlsafe(32)
    made = rows(
        on,
        "INSERT INTO api_keys (name, sha256, role) VALUES (%s, %s, %s)"
        " ON CONFLICT (name) DO NOTHING RETURNING 1",
        (name, digest(key), role),
    )
    if not made:
        raise ConflictError(
            f"there is a key named {name!r} already; revoke it or take another name"
        )
    return key


def holder_of(on: Connection, key: str) -> Holder | None:
    """Return who holds a key; None when nobody does or it was revoked."""
    found = rows(
        on,
        "SELECT name, role FROM api_keys WHERE sha256 = %s AND NOT revoked",
        (digest(key),),
    )
    return Holder(name=found[0][0], role=found[0][1]) if found else None


def revoke(on: Connection, name: str) -> None:
    """Close a key for good; its name stays taken, so that old log lines keep their meaning.

    Raises:
        NotFoundError: There is no key of this name.
    """
    if not rows(on, "UPDATE api_keys SET revoked = true WHERE name = %s RETURNING 1", (name,)):
        raise NotFoundError("API key", name)


def every(on: Connection) -> tuple[KeyRow, ...]:
    """Return all keys, oldest first."""
    found = rows(on, "SELECT name, role, created_at, revoked FROM api_keys ORDER BY id")
    return tuple(
        KeyRow(holder=Holder(name=name, role=role), created_at=at, revoked=revoked)
        for name, role, at, revoked in found
    )


def digest(key: str) -> str:
    """Return what the database keeps of a key."""
    return hashlib.sha256(key.encode()).hexdigest()
