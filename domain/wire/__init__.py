"""Readings in Kafka, as JSON (value v1) or packed, decoded a batch at a time."""

from domain.wire.checks import EARLIEST_US
from domain.wire.decode import MAX_AHEAD_S, MAX_BYTES, decode
from domain.wire.encode import encode
from domain.wire.instants import parse_instants
from domain.wire.packed import HEADERS as PACKED_HEADERS
from domain.wire.packed import encode_packed
from domain.wire.raw import RawBatch
from domain.wire.times import format_instant, format_instants, parse_instant
from domain.wire.verdict import Decoded, Rejection, RejectReason, Stranger

__all__ = [
    "EARLIEST_US",
    "MAX_AHEAD_S",
    "MAX_BYTES",
    "PACKED_HEADERS",
    "Decoded",
    "RawBatch",
    "RejectReason",
    "Rejection",
    "Stranger",
    "decode",
    "encode",
    "encode_packed",
    "format_instant",
    "format_instants",
    "parse_instant",
    "parse_instants",
]
