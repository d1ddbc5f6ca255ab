"""Readings of one machine to the bytes of value v1."""

from collections.abc import Sequence

import msgspec
import numpy as np

from domain.readings import Instants, Matrix
from domain.wire.compose import compose
from domain.wire.times import format_instants

_ENCODER = msgspec.json.Encoder()


def encode(
    machine: str,
    instants_us: Instants,
    values: Matrix,
    sensor_names: Sequence[str],
    seqs: Sequence[int] | None = None,
) -> list[bytes]:
    """Return one message per reading; numbers are the shortest text that reads back bit-equal.

    Args:
        machine: Its name; also the messages' key.
        instants_us: Shape (n,), microseconds UTC.
        values: Shape (n, sensors), finite or NaN; a NaN sensor is left out of its message.
        sensor_names: Names of the columns.
        seqs: n sequence numbers, or None to send none.

    Raises:
        ValueError: A value is infinite, there is no sensor, or shapes disagree.
    """
    wanted = (len(instants_us), max(1, len(sensor_names)))
    if values.shape != wanted or (seqs is not None and len(seqs) != len(instants_us)):
        raise ValueError(f"columns disagree: values {values.shape} instead of {wanted}")
    if np.isinf(values).any():
        raise ValueError("an infinite value cannot be sent")
    if not len(instants_us):
        return []
    messages = compose(machine, instants_us, values, sensor_names, seqs)
    odd = [row for row, message in enumerate(messages) if not message]
    if odd:
        some = None if seqs is None else [seqs[row] for row in odd]
        slow = _by_template(machine, instants_us[odd], values[odd], sensor_names, some)
        for row, message in zip(odd, slow, strict=True):
            messages[row] = message
    return messages


def _by_template(
    machine: str,
    instants_us: Instants,
    values: Matrix,
    sensor_names: Sequence[str],
    seqs: Sequence[int] | None,
) -> list[bytes]:
    """Return messages with numbers of any length, at a third of the speed."""
    heads = _heads(machine, instants_us, seqs)
    template = _template(sensor_names)
    # All numbers in one call, then cut into rows: a call per row would cost more than the digits.
    rows = _ENCODER.encode(np.ascontiguousarray(values, dtype=np.float64).tolist())[2:-2]
    whole = np.isfinite(values).all(axis=1).tolist()
    return [
        head + (template % tuple(row.split(b",")) if complete else _sparse(sensor_names, row))
        for head, row, complete in zip(heads, rows.split(b"],["), whole, strict=True)
    ]


def _heads(machine: str, instants_us: Instants, seqs: Sequence[int] | None) -> list[bytes]:
    begin = b'{"machine_id":' + _ENCODER.encode(machine) + b',"timestamp":"'
    texts = format_instants(np.ascontiguousarray(instants_us, dtype=np.int64))
    if seqs is None:
        return [b'%b%b","values":' % (begin, text) for text in texts]
    return [
        b'%b%b","seq":%d,"values":' % (begin, text, seq)
        for text, seq in zip(texts, seqs, strict=True)
    ]


def _template(sensor_names: Sequence[str]) -> bytes:
    pairs = [_ENCODER.encode(name).replace(b"%", b"%%") + b":%b" for name in sensor_names]
    return b"{" + b",".join(pairs) + b"}}"


def _sparse(sensor_names: Sequence[str], row: bytes) -> bytes:
    pairs = [
        _ENCODER.encode(name) + b":" + number
        for name, number in zip(sensor_names, row.split(b","), strict=True)
        if number != b"null"
    ]
    return b"{" + b",".join(pairs) + b"}}"
