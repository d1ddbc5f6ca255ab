"""What `POST /api/v1/predict` takes and gives, as types that decode, encode and describe it."""

from typing import Annotated, Any, Literal

import msgspec

from domain.risk.outlook import Failure
from storage.verdicts import Contribution

MOST = 1e150
"""No sensor measures more, and its square, of which scores are made, must still be a number."""

type Value = Annotated[float, msgspec.Meta(ge=-MOST, le=MOST)]


class Reading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reading of a machine.

    Attributes:
        timestamp: RFC 3339 with an offset.
        values: Sensor name to number in the sensor's unit; null or absent is missing.
    """

    timestamp: str
    values: dict[str, Value | None]


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One machine's window, or one reading of it in the short form, or many requests.

    A registered machine without readings is judged by its newest stored one.

    Attributes:
        machine_id: A registered machine; its stored readings complete a short window.
        machine_class: The class of a machine that is not registered, instead of `machine_id`.
        readings: The window, oldest first.
        timestamp: Short form: the reading's instant.
        values: Short form: the reading's values.
        context: `none` scores these readings alone, without the machine's stored ones.
        requests: Many windows at once, instead of all other fields.
    """

    machine_id: str | None = None
    machine_class: str | None = None
    readings: list[Reading] | None = None
    timestamp: str | None = None
    values: dict[str, Value | None] | None = None
    context: Literal["stored", "none"] = "stored"
    requests: list["PredictRequest"] | None = None


class ModelUsed(msgspec.Struct, frozen=True, kw_only=True):
    """What scored it.

    Attributes:
        name: Registered model: the machine class.
        version: Its version in the registry.
    """

    name: str
    version: int


class SensorFaultSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor that was left out of the score.

    Attributes:
        sensor: Its name.
        kind: stuck, dropout, out_of_range or unit_jump.
    """

    sensor: str
    kind: str


class DataQuality(msgspec.Struct, frozen=True, kw_only=True):
    """How sure the score is.

    Attributes:
        ready: False while the model's window is not filled: the score is provisional.
        rows: Readings of the request.
        context_rows: Stored readings of the machine that were put before them.
        missing: Sensors without a value in the last reading.
        faults: Sensors that cannot be trusted in the last reading.
        note: In words, when something limits the score; empty otherwise.
    """

    ready: bool
    rows: int
    context_rows: int
    missing: list[str]
    faults: list[SensorFaultSeen]
    note: str = ""


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a window: that on its last reading.

    Attributes:
        machine_id: As asked; null for a machine that is not registered.
        machine_class: The class whose model scored it.
        timestamp: Instant of the last reading, RFC 3339 in UTC.
        score: More than the threshold is anomalous.
        threshold: Always 1: scores are scaled so.
        is_anomaly: Whether the score exceeds the threshold.
        contributions: Sensors, largest share first.
        failure: Risk of failure.
        model: What scored it.
        data_quality: How sure the score is.
        scores: The score of every reading of the request, in order.
    """

    machine_id: str | None
    machine_class: str
    timestamp: str
    score: float
    threshold: float
    is_anomaly: bool
    contributions: list[Contribution]
    failure: Failure
    model: ModelUsed
    data_quality: DataQuality
    scores: list[float]


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to many requests.

    Attributes:
        results: One per request, in order.
    """

    results: list[Prediction]


def components() -> dict[str, Any]:
    """Return JSON schemas by name, for OpenAPI, made from the very types that decode and encode."""
    from ray_app.serve.inference_schema import DESCRIBED
    from ray_app.serve.problems import Problem

    _, made = msgspec.json.schema_components(
        [PredictRequest, Prediction, Predictions, Problem, *DESCRIBED],
        ref_template="#/components/schemas/{name}",
    )
    return made
