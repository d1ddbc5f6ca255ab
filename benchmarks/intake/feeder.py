"""Sends readings at a steady rate until its input ends: `… feeder KAFKA TOPIC RATE OUTAGE_S`."""

import select
import sys
import time

from benchmarks.intake import workload
from ingestion.kafka import KafkaSink
from ingestion.settings import KafkaSettings

MOST_S = 90
"""It never sends for longer; what it sends is made beforehand."""


def main() -> None:
    """Say `outage over` once so much has gathered; go on; at the end say the rate that was kept."""
    kafka, topic, rate, outage_s = sys.argv[1:]
    settings = KafkaSettings(bootstrap_servers=kafka, topic=topic)
    said = False
    with KafkaSink.open(settings) as sink:
        began, sent = time.monotonic(), 0
        for one in workload.turns(int(rate) * MOST_S, turn=20):
            made = workload.json_messages(one)
            sink.send(topic, workload.NAMES[one.machine].encode(), made)
            sent += len(made)
            # Ahead of the clock by no more than this turn.
            ahead_s = sent / int(rate) - (time.monotonic() - began)
            if select.select([sys.stdin], [], [], max(0.0, ahead_s))[0]:
                break
            if not said and time.monotonic() - began > float(outage_s):
                said = True
                _say("outage over")
        # On a busy machine it may be less than was asked for.
        _say(str(sent / (time.monotonic() - began)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
