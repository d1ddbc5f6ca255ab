"""The tables of what the scorer says; beside `schema`."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.schema_base import Moment, metadata, now

anomalies = Table(
    "anomalies",
    metadata,
    # One row per anomalous reading and model version: scoring twice writes once.
    Column("machine_key", Integer, primary_key=True, autoincrement=False),
    Column("instant", Moment, primary_key=True),
    Column("model_version", Integer, primary_key=True, autoincrement=False),
    Column("score", Float(53), nullable=False),
    Column("kind", Text, nullable=False, server_default="machine"),  # machine | sensor
    Column(
        "contributions", JSONB, nullable=False
    ),  # [{sensor, share, expected, observed}], largest first
    Column("incident_id", BigInteger),
    now("detected_at"),
    Index("ix_anomalies_instant", "instant"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("machine_key", Integer, ForeignKey("machines.key"), nullable=False),
    Column("kind", Text, nullable=False),  # machine | sensor
    Column("state", Text, nullable=False, server_default="open"),  # open | acknowledged | closed
    Column("began", Moment, nullable=False),  # instant of the first anomalous reading
    Column("opened", Moment, nullable=False),  # instant of the reading that opened it
    Column("last_seen", Moment, nullable=False),
    Column("closed", Moment),
    Column("peak_score", Float(53), nullable=False),
    Column("anomalies", BigInteger, nullable=False, server_default="1"),
    Column("root_sensor", Text, nullable=False),
    Column("evidence", JSONB, nullable=False, server_default="[]"),
    Column("model_version", Integer, nullable=False),
    Column("acknowledged_by", Text),
    Column("feedback", Text),  # true | false | maintenance
    Column("feedback_by", Text),
    Column("feedback_at", Moment),
    Column("severity", Text, nullable=False, server_default="minor"),  # domain.severity.Severity
    Column("close_reason", Text),  # quiet | silent | maintenance | repaired | person
    Column("note", Text, nullable=False, server_default=""),
    Column("peaked", Moment),  # instant of the reading with peak_score, which evidence shows
    Column("failure_mode", JSONB),  # domain.risk.outlook.IncidentMode
    Column("faults", JSONB, nullable=False, server_default="[]"),  # [domain.told.SensorDid]
    now("recorded_at"),
    # At most one live incident of a kind per machine.
    Index(
        "uq_incidents_live",
        "machine_key",
        "kind",
        unique=True,
        postgresql_where=text("closed IS NULL"),
    ),
    Index("ix_incidents_opened", "opened"),
    Index("ix_incidents_closed", "closed"),
)

movements = Table(
    "movements",
    metadata,
    # One row per movement of a machine: told again it is written once.
    Column("machine_key", Integer, ForeignKey("machines.key"), primary_key=True),
    Column("began", Moment, primary_key=True),
    Column("settled", Moment),
    Column("peak_score", Float(53), nullable=False),
    Column("sensors", JSONB, nullable=False),  # [domain.told.Moved], largest share first
    Column("model_version", Integer, nullable=False),
    CheckConstraint("settled > began", name="order"),
    Index("ix_movements_going_on", "machine_key", postgresql_where=text("settled IS NULL")),
)

machine_states = Table(
    "machine_states",
    metadata,
    # What the scorer last knew of a machine; the console's health column.
    Column("machine_key", Integer, ForeignKey("machines.key"), primary_key=True),
    Column("instant", Moment, nullable=False),
    Column("score", Float(53), nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("quality", JSONB, nullable=False, server_default="{}"),
    Column("failure", JSONB),  # domain.risk.outlook.Failure, as the scorer last told it
    now("updated_at"),
)

sensor_states = Table(
    "sensor_states",
    metadata,
    # What is wrong now, apart from anomalies; gone when it is over. The scorer writes changes only.
    Column("machine_key", Integer, ForeignKey("machines.key"), primary_key=True),
    Column("sensor", Text, primary_key=True),  # empty: the machine as a whole
    # stuck | dropout | out_of_range | unit_jump | gap | silent | clock_skew
    Column("condition", Text, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("last_seen", Moment, nullable=False),
    CheckConstraint("last_seen >= since", name="order"),
)
