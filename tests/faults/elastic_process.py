"""Consumers that follow their load on a cluster of two nodes, until stdin ends.

`python elastic_process.py HOME SETTINGS`; every change is a line of `HOME/changes`, where each
consumer was placed one of `HOME/places`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingestion.elasticity import Bounds, Rules
from ingestion.settings import KafkaSettings
from ray_app import cluster
from ray_app.crew import Crew
from ray_app.elastic import ConsumerActors, Elastic
from ray_app.embedded.ports import free_port
from ray_app.metrics import process_metrics
from storage.settings import StorageSettings

RULES = Rules(few=500, behind_s=0.1, catch_up_s=0.2, settle_s=2.0, calm_s=3.0)


@contextmanager
def second_node(address: str) -> Iterator[None]:
    """Let another node join the cluster."""
    import ray

    started = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    with subprocess.Popen(
        [*started, f"--address={address}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while sum(node["Alive"] for node in ray.nodes()) < 2:  # type: ignore[no-untyped-call] # Ray's gap
                assert process.poll() is None
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


def places() -> dict[str, str]:
    """Return consumer → node."""
    from ray.util.state import list_actors

    return {str(one.name): str(one.node_id) for one in list_actors() if one.state == "ALIVE"}


def main(home: Path, given: str) -> None:
    """Run until stdin ends."""
    settings = json.loads(given)
    kafka = settings["kafka"] | {"properties": tuple(map(tuple, settings["kafka"]["properties"]))}
    with cluster.local(home, dashboard_port=free_port(), cpus=1) as ray, second_node(ray.address):
        crew = Crew()
        actors = ConsumerActors(
            crew, KafkaSettings(**kafka), StorageSettings(**settings["storage"])
        )
        with (home / "changes").open("a", buffering=1) as told:
            elastic = Elastic(
                actors.standings,
                actors,
                Bounds(least=0, most=2),
                process_metrics(),
                rules=RULES,
                say=lambda line: print(line, file=told),
                every_s=0.25,
            )
            elastic.start()
            for line in sys.stdin:
                (home / line.strip()).write_text(json.dumps(places()))
            elastic.stop()
            crew.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
