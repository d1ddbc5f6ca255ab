"""Kafka messages as columns, before anyone has looked inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt

type Headers = list[tuple[str, bytes]]

_NO_PARTITION = np.empty(0, np.int32)
_NO_OFFSET = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawBatch:
    """Messages of one topic in arrival order.

    Attributes:
        topic: Where they come from.
        partitions: Shape (n,).
        offsets: Shape (n,).
        keys: n message keys.
        values: n message values; None is a tombstone.
        headers: n header lists, or None where no message has any.
    """

    topic: str
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers | None] | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.partitions), len(self.offsets), len(self.keys), len(self.values)}
        if self.headers is not None:
            sizes.add(len(self.headers))
        if len(sizes) > 1:
            raise ValueError(f"columns of a batch have different lengths: {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def joined(cls, topic: str, parts: Sequence["RawBatch"]) -> Self:
        """Return batches of one topic as one, in the order given."""
        headed = any(part.headers is not None for part in parts)
        return cls(
            topic=topic,
            partitions=np.concatenate([part.partitions for part in parts] or [_NO_PARTITION]),
            offsets=np.concatenate([part.offsets for part in parts] or [_NO_OFFSET]),
            keys=list(chain.from_iterable(part.keys for part in parts)),
            values=list(chain.from_iterable(part.values for part in parts)),
            headers=list(chain.from_iterable(part.headers or [None] * len(part) for part in parts))
            if headed
            else None,
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(map(len, filter(None, self.values)))

    def take(self, rows: npt.NDArray[np.intp]) -> Self:
        """Return the named messages, in that order."""
        picked = rows.tolist()
        return type(self)(
            topic=self.topic,
            partitions=self.partitions[rows],
            offsets=self.offsets[rows],
            keys=[self.keys[row] for row in picked],
            values=[self.values[row] for row in picked],
            headers=None if self.headers is None else [self.headers[row] for row in picked],
        )

    def place(self, row: int) -> str:
        """Return where a message is, as topic[partition]@offset."""
        return f"{self.topic}[{self.partitions[row]}]@{self.offsets[row]}"
