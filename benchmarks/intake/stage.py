"""What the measurements share: sizes, and topics that are filled when somebody first asks."""

from dataclasses import dataclass
from functools import cached_property

from benchmarks.intake.ours import Filled
from benchmarks.intake.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How many readings each measurement brings; multiples of 50.

    Attributes:
        json: Ours, JSON.
        packed: Ours, packed, and COPY.
        connect: Kafka Connect as it comes.
        tuned: Kafka Connect at its best.
        slow: executemany, ORM and Quix Streams.
        large: Stored already in the large table.
        produced: Sent by producers.
    """

    json: int
    packed: int
    connect: int
    tuned: int
    slow: int
    large: int
    produced: int


class Stage:
    """A site and its topics.

    Args:
        site: Where.
        sizes: How much.
    """

    def __init__(self, site: Site, sizes: Sizes) -> None:
        self.site, self.sizes = site, sizes

    @cached_property
    def json(self) -> Filled:
        """JSON for ours."""
        return Filled.make(self.site, "json", self.sizes.json, packed=False)

    @cached_property
    def packed(self) -> Filled:
        """Packed for ours."""
        return Filled.make(self.site, "packed", self.sizes.packed, packed=True)

    @cached_property
    def connect(self) -> Filled:
        """The beginning of the JSON for rivals of middling speed."""
        return Filled.make(self.site, "connect", self.sizes.connect, packed=False)

    @cached_property
    def tuned(self) -> Filled:
        """The beginning of the JSON for the fastest rival."""
        return Filled.make(self.site, "tuned", self.sizes.tuned, packed=False)

    @cached_property
    def slow(self) -> Filled:
        """The beginning of the JSON for slow rivals."""
        return Filled.make(self.site, "slow", self.sizes.slow, packed=False)
