"""What decoding a batch comes to: readings, rejections and strangers."""

from dataclasses import dataclass
from enum import StrEnum, unique

import numpy as np
import numpy.typing as npt

from domain.readings import ReadingBatch


@unique
class RejectReason(StrEnum):
    """Why a message is no reading; a closed set, so that it can be a label and a filter."""

    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    BAD_PACKED = "bad_packed"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    BAD_NUMBER = "bad_number"
    BAD_NAME = "bad_name"
    KEY_MISMATCH = "key_mismatch"
    BAD_TIMESTAMP = "bad_timestamp"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    EMPTY_VALUES = "empty_values"
    UNKNOWN_SENSOR = "unknown_sensor"
    # Given where messages of another shape are mapped: another message has given this value.
    CONFLICTING_VALUE = "conflicting_value"
    # Given by the ingestion, which alone can know them:
    UNKNOWN_MACHINE = "unknown_machine"  # a stranger that no class, or more than one, matches
    REFUSED_BY_STORAGE = "refused_by_storage"  # a row fault, SQLSTATE class 22 or 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A message that can never become a reading.

    Attributes:
        index: Its row in the raw batch.
        reason: The broken rule.
        detail: The rule in words a sensor's owner understands.
    """

    index: int
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stranger:
    """A well-formed sender that the roster does not know yet.

    Attributes:
        name: The machine's name.
        sensors: Every sensor it named in this batch.
        rows: Rows of its messages in the raw batch, ascending; `raw.take(rows)` decodes them again
            once the machine was admitted.
    """

    name: str
    sensors: frozenset[str]
    rows: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoded:
    """A decoded batch; every message is in exactly one of the three.

    Attributes:
        readings: One batch per machine class that occurs, each in arrival order.
        rows: For each of `readings`, the raw batch's row of each reading; a packed message brings
            several, and its row stands as often.
        rejections: Ascending by index.
        strangers: By name, in order of appearance.
    """

    readings: tuple[ReadingBatch, ...]
    rows: tuple[npt.NDArray[np.intp], ...]
    rejections: tuple[Rejection, ...]
    strangers: tuple[Stranger, ...]
