"""The tables of what people and outside services have to do with incidents; beside `schema`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.schema_base import Moment, metadata, now

maintenance = Table(
    "maintenance",
    metadata,
    # Within a window nothing is opened and nothing is learnt; of one machine or of a whole class.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("machine_key", Integer, ForeignKey("machines.key")),
    Column("machine_class", Text, ForeignKey("machine_classes.name")),
    Column("starts", Moment, nullable=False),
    Column("ends", Moment),  # null: until somebody ends it
    # The machine was repaired: from its end on the level is learnt anew.
    Column("learn_anew", Boolean, nullable=False, server_default=text("false")),
    Column("note", Text, nullable=False, server_default=""),
    Column("created_by", Text, nullable=False),
    now("created_at"),
    CheckConstraint("(machine_key IS NULL) <> (machine_class IS NULL)", name="target"),
    CheckConstraint("ends IS NULL OR ends >= starts", name="order"),
    CheckConstraint("NOT learn_anew OR ends IS NOT NULL", name="learn_anew"),
    Index("ix_maintenance_starts", "starts"),
)

sensor_limits = Table(
    "sensor_limits",
    metadata,
    # What feedback made of a machine's limits; whoever is not here has the factor 1.
    Column("machine_key", Integer, ForeignKey("machines.key"), primary_key=True),
    Column("sensor", Text, primary_key=True),
    Column("factor", Float(53), nullable=False),  # on the sensor's part in a score
    now("changed_at"),
    CheckConstraint("factor BETWEEN 0.5 AND 2", name="bounds"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("url", Text, nullable=False),
    Column("format", Text, nullable=False),  # json | alertmanager
    Column("secret", Text, nullable=False, server_default=""),  # empty: not signed
    Column("created_by", Text, nullable=False),
    now("created_at"),
    UniqueConstraint("url", "format"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    # The outbox: written in the transaction of the incident, delivered at least once after it.
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("webhook_id", Integer, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("incident_id", BigInteger, nullable=False),
    Column("event", JSONB, nullable=False),  # domain.webhooks.Event
    Column("state", Text, nullable=False, server_default="waiting"),  # waiting | delivered | dead
    Column("attempts", Integer, nullable=False, server_default="0"),
    now("due_at"),  # not before; while it is being delivered the end of the lease
    Column("last_error", Text, nullable=False, server_default=""),
    now("created_at"),
    Column("settled_at", Moment),
    Index(
        "ix_webhook_deliveries_waiting",
        "webhook_id",
        "incident_id",
        "id",
        postgresql_where=text("state = 'waiting'"),
    ),
    Index("ix_webhook_deliveries_settled_at", "settled_at"),
)

shadow_periods = Table(
    "shadow_periods",
    metadata,
    # What a challenger made of the live stream beside the champion, in sums that add up.
    Column("machine_class", Text, ForeignKey("machine_classes.name"), primary_key=True),
    Column("champion", Integer, primary_key=True, autoincrement=False),
    Column("challenger", Integer, primary_key=True, autoincrement=False),
    Column("period", Moment, primary_key=True),  # its beginning, by the clock on the wall
    Column("readings", BigInteger, nullable=False),
    Column("machine_s", Float(53), nullable=False),  # machine-seconds that the readings stand for
    Column("champion_alerts", BigInteger, nullable=False),
    Column("challenger_alerts", BigInteger, nullable=False),
    Column("both_alerts", BigInteger, nullable=False),
    Column("champion_incidents", BigInteger, nullable=False),
    Column("challenger_incidents", BigInteger, nullable=False),
    Column("champion_sum", Float(53), nullable=False),  # of scores
    Column("challenger_sum", Float(53), nullable=False),
    Column("square_sum", Float(53), nullable=False),  # of squared differences of scores
)

shadow_challengers = Table(
    "shadow_challengers",
    metadata,
    # Who is in shadow now, and whether it works.
    Column("machine_class", Text, ForeignKey("machine_classes.name"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),  # scoring | failed
    Column("note", Text, nullable=False, server_default=""),
    now("changed_at"),
)
