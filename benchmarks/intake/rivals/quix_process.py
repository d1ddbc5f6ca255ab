"""The process of Quix Streams; runs in its own environment and imports nothing of ours."""

import json
import sys
from typing import Any


def main() -> None:
    """Bring a topic into a table, a column per sensor, as its documentation shows."""
    # Not installed beside us, and not meant to be.
    from quixstreams import Application  # type: ignore[import-not-found]
    from quixstreams.sinks.community.postgresql import (  # type: ignore[import-not-found]
        PostgreSQLSink,
    )

    settings: dict[str, Any] = json.loads(sys.argv[1])
    app = Application(
        broker_address=settings["servers"],
        consumer_group=settings["group"],
        auto_offset_reset="earliest",
        # Beside its default of every five seconds: so its rows are seen coming.
        commit_every=5000,
    )
    where = settings["libpq"]
    sink = PostgreSQLSink(
        host=where["host"],
        port=int(where["port"]),
        dbname=where["dbname"],
        user=where["user"],
        password=where["password"],
        table_name=settings["table"],
    )
    frame = app.dataframe(app.topic(settings["topic"], value_deserializer="json"))
    frame = frame.apply(
        lambda one: {"machine_id": one["machine_id"], "instant": one["timestamp"], **one["values"]}
    )
    frame.sink(sink)
    app.run()


if __name__ == "__main__":
    main()
