"""Everything that can go wrong, as one tree.

    PlatformError                    exit code 1, HTTP 500
    ├── BadInputError                exit code 2, HTTP 422: the user's file, flag or body
    │   └── SettingsError            every wrong setting at once
    ├── NotFoundError                exit code 4, HTTP 404: a machine, model or message is not there
    ├── ConflictError                exit code 5, HTTP 409: the state does not allow this now
    ├── ServiceUnavailableError      exit code 3, HTTP 503: Kafka, Postgres, MLflow or Ray is away
    │   └── NoChampionError          HTTP 503: nothing has been promoted yet
    ├── ModelRejectedError           exit code 6, HTTP 422: a model package that failed verification
    ├── PartitionLostError           another consumer owns the partition: abort and rejoin
    └── OffsetsLostError             Kafka no longer holds what was not read yet

A message says what, where and what next. Arguments are positional and reach `super().__init__`,
or Ray could not carry the error from one process to another.
"""

from typing import ClassVar


class PlatformError(Exception):
    """Root of the tree; nothing below is raised without a message for a person."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"


class BadInputError(PlatformError):
    """What the user gave cannot be used.

    Attributes:
        what: The broken rule, in the user's words.
        where: File, line, column, flag or field.
        hint: What to do next; may be empty.
    """

    exit_code = 2
    http_status = 422
    title = "Bad input"

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where, hint)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f". {self.hint}" if self.hint else "")


class SettingsError(BadInputError):
    """Settings that cannot be used, all of them named at once.

    Attributes:
        problems: One sentence per wrong variable: its name, its value, what is allowed.
    """

    title = "Wrong settings"

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems), "settings", "")
        self.args = (problems,)
        self.problems = problems


class NotFoundError(PlatformError):
    """A named thing does not exist.

    Attributes:
        kind: What was looked for: machine, model, message.
        name: The name it was looked for by.
        hint: Where to find the names that exist.
    """

    exit_code = 4
    http_status = 404
    title = "Not found"

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        super().__init__(kind, name, hint)
        self.kind, self.name, self.hint = kind, name, hint

    def __str__(self) -> str:
        return f"there is no {self.kind} {self.name!r}" + (f". {self.hint}" if self.hint else "")


class ConflictError(PlatformError):
    """The present state does not allow what was asked."""

    exit_code = 5
    http_status = 409
    title = "Conflict"


class ServiceUnavailableError(PlatformError):
    """A service this platform stands on does not answer.

    Attributes:
        service: Kafka, PostgreSQL, MLflow, Ray.
        reason: What the client said.
        hint: What to do next.
    """

    exit_code = 3
    http_status = 503
    title = "Service unavailable"

    def __init__(self, service: str, reason: str, hint: str = "") -> None:
        super().__init__(service, reason, hint)
        self.service, self.reason, self.hint = service, reason, hint

    def __str__(self) -> str:
        return f"{self.service} is not available: {self.reason}" + (
            f". {self.hint}" if self.hint else ""
        )


class NoChampionError(ServiceUnavailableError):
    """No model has been promoted for a machine class.

    Attributes:
        machine_class: The class without a champion.
    """

    title = "No champion yet"

    def __init__(self, machine_class: str) -> None:
        super().__init__(
            "the model",
            f"machine class {machine_class!r} has no champion yet",
            "Run `millwright sweep run`; the best model is promoted when it passes its gate",
        )
        self.args = (machine_class,)
        self.machine_class = machine_class


class ModelRejectedError(PlatformError):
    """A model package failed verification and was not loaded; the old one serves on.

    Attributes:
        name: Registered model and version.
        reason: Which check failed.
    """

    exit_code = 6
    http_status = 422
    title = "Model rejected"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"model {self.name} was refused: {self.reason}"


class PartitionLostError(PlatformError):
    """The stored offset moved under us: another consumer owns the partition.

    Attributes:
        topic: Topic of the partition.
        partition: Its number.
        expected: The offset this consumer believed to be next.
    """

    def __init__(self, topic: str, partition: int, expected: int) -> None:
        super().__init__(topic, partition, expected)
        self.topic, self.partition, self.expected = topic, partition, expected

    def __str__(self) -> str:
        return (
            f"{self.topic}[{self.partition}] is no longer ours: offset {self.expected} was taken "
            "by another consumer. The batch was rolled back; this consumer rejoins the group"
        )


class OffsetsLostError(PlatformError):
    """Kafka dropped messages before they were read.

    Attributes:
        topic: Topic of the partition.
        partition: Its number.
        wanted: The first offset that is missing.
        earliest: The first offset Kafka still holds.
    """

    def __init__(self, topic: str, partition: int, wanted: int, earliest: int) -> None:
        super().__init__(topic, partition, wanted, earliest)
        self.topic, self.partition = topic, partition
        self.wanted, self.earliest = wanted, earliest

    def __str__(self) -> str:
        return (
            f"{self.topic}[{self.partition}] lost offsets {self.wanted} to {self.earliest - 1}: "
            "they left Kafka by retention before they were stored. Lengthen the topic's retention, "
            "then accept the gap with `millwright ingest --accept-gap`"
        )
