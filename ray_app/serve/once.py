"""Requests with an Idempotency-Key: asked again, they are answered again and not done again."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from storage import answers
from storage.answers import Asked
from storage.connect import Connection
from storage.pool import Pool

type Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="The same key asks for the same work once; its answer is kept for a day",
    ),
]


def once(pool: Pool, asked: Asked, work: Callable[[], str]) -> str:
    """Return the answer to a request, worked out now unless it was before."""
    with pool.session() as on:
        answer = answers.begin(on, asked)
    if answer is not None:
        return answer
    try:
        answer = work()
    except BaseException:
        with pool.session() as on:
            answers.abandon(on, asked)
        raise
    with pool.session() as on:
        answers.finish(on, asked, answer)
    return answer


def once_in(pool: Pool, asked: Asked | None, work: Callable[[Connection], str]) -> str:
    """Return the answer to a request whose work and answer are one transaction.

    Args:
        pool: Connections.
        asked: The request; None where no key came with it, and nothing is remembered.
        work: Does it in the session it is given, and returns the answer.
    """
    with pool.session() as on:
        before = None if asked is None else answers.begin(on, asked)
        if before is not None:
            return before
        answer = work(on)
        if asked is not None:
            answers.finish(on, asked, answer)
        return answer
