"""`Idempotency-Key`: whoever repeats a request with the same key gets its first answer again."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Header, Request
from pydantic import BaseModel, TypeAdapter

from ray_app.serve.params import HOLDER
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
        pattern=r"^[!-~]+$",
        description="The same key asks for the same work once; its answer is kept for a day",
    ),
]


def marked(request: Request, key: str | None, body: str) -> Asked | None:
    """Return what a key stands for: who asks for what; None without a key.

    Args:
        request: Its path and the holder of its API key tell it from others.
        key: The Idempotency-Key.
        body: All that tells it from another request to the same path.
    """
    if key is None:
        return None
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    told = f"POST {path.removeprefix('/v1')} {body}"
    return Asked(holder=request.scope[HOLDER].name, key=key, request=told)


def once[T: BaseModel](  # noqa: PLR0913 - what, who, where, and how
    pool: Pool,
    request: Request,
    key: str | None,
    asked: BaseModel | None,
    *,
    work: Callable[[], T],
    shape: type[T],
) -> T:
    """Return the answer to a request: worked out now, or the one that was given before.

    Args:
        pool: Connections.
        request: Its path and the holder of its API key tell it from others.
        key: The Idempotency-Key; without one the work is done.
        asked: The body.
        work: What is to be done once.
        shape: What it returns.

    Raises:
        ConflictError: The same request is under way.
        BadInputError: The key was used for another request.
    """
    mark = marked(request, key, "" if asked is None else asked.model_dump_json())
    if mark is None:
        return work()
    with pool.session() as on:
        answer = answers.begin(on, mark)
    if answer is not None:
        return shape.model_validate_json(answer)
    try:
        done = work()
    except BaseException:
        with pool.session() as on:
            answers.abandon(on, mark)
        raise
    with pool.session() as on:
        answers.finish(on, mark, done.model_dump_json())
    return done


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


def row_once[T](
    pool: Pool, asked: Asked | None, shape: TypeAdapter[T], work: Callable[[Connection], T]
) -> T:
    """Return the row that a request makes, as `once_in` does its answer.

    Args:
        pool: Connections.
        asked: The request; None where no key came with it.
        shape: Of the row.
        work: Makes it in the session it is given.
    """
    answer = once_in(pool, asked, lambda on: shape.dump_json(work(on)).decode())
    return shape.validate_json(answer)
