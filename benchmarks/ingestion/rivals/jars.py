"""Jars of Kafka Connect and of Debezium's JDBC sink: fetched from Maven once, kept in our cache.

They are no part of the platform: only this benchmark asks for them, so no lock pins them; Maven's
own checksums hold. The versions are named, so that a figure can be measured again.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from ray_app.embedded.kafka_jars import cache_dir

CONNECT = "org.apache.kafka:connect-runtime:4.3.1"
DEBEZIUM = "io.debezium:debezium-connector-jdbc:3.6.0.Final"
_LOGGING = "org.slf4j:slf4j-simple:1.7.36"
_PARALLEL = 8


def class_path(*roots: str) -> list[Path]:
    """Return the files of some artifacts and of all they need.

    Raises:
        RuntimeError: One is not in the repository.
        OSError: The repository does not answer.
    """
    remotes = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context = MavenContext(repo_cache=cache_dir() / "maven", remote_repos=remotes)
    inputs, others = context.resolver.resolve([context.create_dependency(one) for one in roots])
    names = {f"{one.groupId}:{one.artifactId}:{one.version}" for one in (*inputs, *others)}
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(
            pool.map(
                lambda name: Path(context.create_dependency(name).artifact.resolve()), sorted(names)
            )
        )


def runtime() -> list[Path]:
    """Return the class path of Kafka Connect."""
    return [*class_path(CONNECT), *class_path(_LOGGING)]


def plugin() -> list[Path]:
    """Return the files of the sink, the driver of Postgres among them."""
    return class_path(DEBEZIUM)
