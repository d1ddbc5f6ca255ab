"""Every error of the driver becomes one of ours, by SQLSTATE and type."""

import psycopg2
import pytest
from psycopg2 import errors

from domain.errors import BadInputError, ConflictError, PlatformError, ServiceUnavailableError
from storage.connect import is_row_fault, translate, translated


def every_error() -> list[type[psycopg2.Error]]:
    """Return every class of the driver that stands for a SQLSTATE."""
    found = (getattr(errors, name) for name in dir(errors))
    return [one for one in found if isinstance(one, type) and issubclass(one, psycopg2.Error)]


def with_code(code: str) -> psycopg2.Error:
    """Return an error as the server raises it for a SQLSTATE."""
    raised = errors.lookup(code)("the server's words")
    raised.__setstate__({"pgcode": code})  # type: ignore[no-untyped-call] # how the driver unpickles it
    return raised


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("08006", ServiceUnavailableError),
        ("40001", ServiceUnavailableError),
        ("40P01", ServiceUnavailableError),
        ("53100", ServiceUnavailableError),
        ("53300", ServiceUnavailableError),
        ("57P01", ServiceUnavailableError),
        ("57P03", ServiceUnavailableError),
        ("58030", ServiceUnavailableError),
        ("28P01", ServiceUnavailableError),
        ("3D000", ServiceUnavailableError),
        ("42P01", ServiceUnavailableError),
        ("22003", BadInputError),
        ("23514", BadInputError),
        ("23502", BadInputError),
        ("23505", ConflictError),
        ("42601", PlatformError),
    ],
)
def test_a_sqlstate_decides_the_kind_of_error(code: str, kind: type[PlatformError]) -> None:
    """Rows that can never be stored are told apart from a server that is away."""
    assert type(translate(with_code(code))) is kind


def test_only_the_row_itself_is_a_row_fault() -> None:
    """A duplicate is no fault, and neither is a server that is away."""
    codes = ("22003", "23514", "23505", "57P01")
    assert [is_row_fault(with_code(code)) for code in codes] == [True, True, False, False]


def test_a_server_that_vanished_is_away() -> None:
    """Without SQLSTATE libpq itself speaks: refused, closed, timed out."""
    for lost in (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.DatabaseError):
        assert isinstance(translate(lost("gone")), ServiceUnavailableError)


def test_no_error_of_the_driver_escapes() -> None:
    """Whatever the driver may raise leaves the room as one of ours."""
    known = every_error()
    assert len(known) > 200
    for kind in known:
        with pytest.raises(PlatformError), translated():
            raise kind("words")
