"""Messages taken at different times, as one batch."""

import numpy as np

from domain.wire import PACKED_HEADERS, RawBatch


def test_batches_are_joined_in_order_with_headers_where_there_are_any() -> None:
    """A part without headers says so for each of its messages; no part at all is an empty batch."""
    plain = RawBatch(
        topic="t",
        partitions=np.array([0, 1], np.int32),
        offsets=np.array([5, 7]),
        keys=[b"a", None],
        values=[b"12", None],
    )
    packed = RawBatch(
        topic="t",
        partitions=np.array([1], np.int32),
        offsets=np.array([8]),
        keys=[b"b"],
        values=[b"345"],
        headers=[PACKED_HEADERS],
    )

    both = RawBatch.joined("t", [plain, packed])

    assert [both.place(row) for row in range(3)] == ["t[0]@5", "t[1]@7", "t[1]@8"]
    assert (both.keys, both.values) == ([b"a", None, b"b"], [b"12", None, b"345"])
    assert both.headers == [None, None, PACKED_HEADERS]
    assert both.nbytes == 5
    assert RawBatch.joined("t", [plain, plain]).headers is None
    assert len(RawBatch.joined("t", [])) == 0
