"""The same request asked twice is worked on once; see `storage.answers`."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from storage import answers
from storage.answers import Asked
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
