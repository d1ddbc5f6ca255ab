"""Errors over HTTP as RFC 9457 problem details: one shape for every refusal."""

import msgspec

from domain.errors import PlatformError

CONTENT_TYPE = "application/problem+json"


class FieldProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One wrong place in a request.

    Attributes:
        detail: What is wrong there.
        pointer: RFC 6901 pointer into the body; empty for the body as a whole.
    """

    detail: str
    pointer: str = ""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal.

    Attributes:
        type: URN of the kind of problem; stable, for programs.
        title: The kind in words.
        status: HTTP status.
        detail: What happened and what to do next.
        instance: Path that was asked for.
        errors: Every wrong place, where there are several.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[FieldProblem, ...] = ()


class RefusedError(PlatformError):
    """A request that HTTP itself refuses: wrong method, type, size or shape.

    Attributes:
        status: HTTP status.
        title: The kind in words.
        detail: What happened and what to do next.
        errors: Every wrong place of the body.
        headers: Sent with the answer, such as `Allow`.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        errors: tuple[FieldProblem, ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(status, title, detail, errors, headers)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers
        self.kind = title

    def __str__(self) -> str:
        return self.detail


def problem_of(error: Exception, instance: str) -> Problem:
    """Return the problem that tells of an error; of one of ours that nobody foresaw, no details."""
    if isinstance(error, RefusedError):
        return make(error.status, error.kind, error.detail, instance, error.errors)
    if isinstance(error, PlatformError) and error.http_status < 500:
        return make(error.http_status, error.title, str(error), instance)
    if isinstance(error, PlatformError) and error.http_status == 503:
        return make(503, error.title, str(error), instance)
    return make(500, "Internal error", "A defect of ours; the log has its traceback.", instance)


def make(
    status: int, title: str, detail: str, instance: str, errors: tuple[FieldProblem, ...] = ()
) -> Problem:
    """Return a problem whose type is derived from its title."""
    return Problem(
        type=f"urn:millwright:problem:{title.lower().replace(' ', '-')}",
        title=title,
        status=status,
        detail=detail,
        instance=instance,
        errors=errors,
    )


def headers_of(error: Exception) -> tuple[tuple[str, str], ...]:
    """Return the headers that belong to an error: `Retry-After` for what passes by itself."""
    if isinstance(error, RefusedError):
        return error.headers
    if isinstance(error, PlatformError) and error.http_status == 503:
        return (("retry-after", "5"),)
    return ()


def encoded(problem: Problem) -> bytes:
    """Return a problem as JSON."""
    return msgspec.json.encode(problem)
