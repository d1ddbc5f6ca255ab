"""`millwright replay`: a file's readings into Kafka, as if the machines were speaking."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain

from domain.errors import BadInputError
from domain.machines import MachineClass, Sensor
from ingestion.files import FileSpec, read
from ingestion.kafka import KafkaSink, ensure_topic
from ingestion.publish import PER_MESSAGE, Pace, Piece, publish
from ingestion.settings import KafkaSettings
from observability.catalogue import PRODUCE_ERRORS, PRODUCED
from observability.metric import Metrics, NoMetrics
from storage import roster_store
from storage.connect import Connection, session
from storage.settings import StorageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """How a file is replayed.

    Attributes:
        spec: The file.
        pace: As fast as it goes, or at a multiple of its own time.
        register_as: Machine class to register its columns as; None: they must fit a known class.
        period_s: Nominal seconds between readings of a new class.
        from_us: The first reading gets this instant and the others follow; None: as in the file.
        packed: Send packed messages instead of JSON: a fifth of the bytes.
    """

    spec: FileSpec
    pace: Pace = field(default_factory=Pace)
    register_as: str | None = None
    period_s: float = 1.0
    from_us: int | None = None
    packed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What was sent.

    Attributes:
        readings: How many Kafka acknowledged, at the least.
        failed: How many messages it did not.
        machine_class: Their class.
        seconds: How long it took.
    """

    readings: int
    failed: int
    machine_class: str
    seconds: float


def replay(
    kafka: KafkaSettings,
    storage: StorageSettings,
    plan: ReplayPlan,
    *,
    metrics: Metrics | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Replayed:
    """Send a file's readings to the topic of the readings.

    Args:
        kafka: Where Kafka is.
        storage: Where the machine classes are.
        plan: What to send and how.
        metrics: Where numbers go.
        progress: Called with how many readings were sent since its last call.

    Raises:
        BadInputError: The file cannot be used, or its columns fit no known class and no class was
            named for them; nothing was sent before the first bad block.
        ConflictError: The class is registered with other sensors.
        ServiceUnavailableError: Kafka or Postgres is away.
    """
    began = time.monotonic()
    pieces = _shifted(read(plan.spec), plan.from_us)
    first = next(pieces)
    with session(storage) as on:
        machine_class = _class_of(on, plan, first)
        roster_store.register_machines(on, first.machines, machine_class.name)
    known = _registered(chain([first], pieces), storage, machine_class.name)
    sent, failed = _send(kafka, known, machine_class, plan, metrics or NoMetrics(), progress)
    return Replayed(
        readings=max(0, sent - failed * (PER_MESSAGE if plan.packed else 1)),
        failed=failed,
        machine_class=machine_class.name,
        seconds=time.monotonic() - began,
    )


def _send(  # noqa: PLR0913, PLR0917 - what sending takes
    kafka: KafkaSettings,
    pieces: Iterator[Piece],
    machine_class: MachineClass,
    plan: ReplayPlan,
    metrics: Metrics,
    progress: Callable[[int], None],
) -> tuple[int, int]:
    """Return how many readings were sent and how many messages Kafka did not take."""
    ensure_topic(kafka)
    with KafkaSink.open(kafka, client_id="millwright replay") as sink:
        sent = publish(
            pieces,
            sink,
            kafka.topic,
            packed_as=machine_class.sensor_names if plan.packed else None,
            pace=plan.pace,
            progress=progress,
        )
        sink.flush()
    metrics.add(PRODUCED, sink.delivered)
    metrics.add(PRODUCE_ERRORS, sink.failed)
    return sent, sink.failed


def _class_of(on: Connection, plan: ReplayPlan, first: Piece) -> MachineClass:
    roster = roster_store.load(on)
    if plan.register_as is not None:
        known = roster.classes.get(plan.register_as)
        if known is not None and set(first.sensors) <= set(known.sensor_names):
            return known  # as it is: with units and ranges that a file does not tell
        machine_class = MachineClass(
            name=plan.register_as,
            sensors=tuple(Sensor(name=name) for name in first.sensors),
            period_s=plan.period_s,
            description=f"from {plan.spec.path.name}",
        )
        return roster_store.register_class(on, machine_class)
    matched = roster.match_class(first.sensors)
    if matched is None:
        raise BadInputError(
            f"its {len(first.sensors)} sensors ({', '.join(first.sensors[:6])}…) are not those of "
            "exactly one machine class",
            str(plan.spec.path),
            "Register them with --register CLASS, or map columns with --column COLUMN=SENSOR",
        )
    return matched


def _registered(
    pieces: Iterator[Piece], storage: StorageSettings, machine_class: str
) -> Iterator[Piece]:
    known: set[str] = set()
    for piece in pieces:
        if new := set(piece.machines) - known:
            with session(storage) as on:
                roster_store.register_machines(on, new, machine_class)
            known |= new
        yield piece


def _shifted(pieces: Iterator[Piece], from_us: int | None) -> Iterator[Piece]:
    shift_us: int | None = None
    for piece in pieces:
        if from_us is None:
            yield piece
            continue
        if shift_us is None:
            shift_us = from_us - int(piece.instants_us[0])
        yield replace(piece, instants_us=piece.instants_us + shift_us)
