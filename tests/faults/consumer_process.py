"""A consumer in a process of its own, to be killed: `python consumer_process.py SETTINGS`."""

import json
import logging
import signal
import sys

from ingestion.consume import Ingestion
from ingestion.settings import KafkaSettings
from storage.settings import StorageSettings


def main() -> None:
    """Ingest until SIGTERM; print what was done."""
    logging.basicConfig(level=logging.INFO)
    given = json.loads(sys.argv[1])
    kafka = given["kafka"] | {"properties": tuple(map(tuple, given["kafka"]["properties"]))}
    ingestion = Ingestion(KafkaSettings(**kafka), StorageSettings(**given["storage"]))
    signal.signal(signal.SIGTERM, lambda *_: ingestion.stop())
    totals = ingestion.run()
    sys.stdout.write(json.dumps({"stored": totals.stored, "duplicates": totals.duplicates}) + "\n")


if __name__ == "__main__":
    main()
