"""What the tables share: their metadata and the columns of instants."""

from sqlalchemy import Column, DateTime, MetaData, func

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = DateTime(timezone=True)


def now(name: str) -> Column[object]:
    """Return a column of instants that is the present where nothing is given."""
    return Column(name, Moment, nullable=False, server_default=func.clock_timestamp())
