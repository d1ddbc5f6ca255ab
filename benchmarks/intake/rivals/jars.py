"""Jars of Kafka Connect and of Debezium's JDBC sink: fetched from Maven once, kept in our cache.

They are no part of the platform: only this benchmark asks for them, so no lock pins them; Maven's
own checksums hold. The versions are named, so that a figure can be measured again.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext

from benchmarks.intake.rivals.clock import RivalFailedError
from ray_app.embedded.kafka_jars import cache_dir

CONNECT = "org.apache.kafka:connect-runtime:4.3.1"
# 3.6.0 asks for a version of its connection pool that Maven Central does not have.
DEBEZIUM = "io.debezium:debezium-connector-jdbc:3.5.0.Final"
_LOGGING = "org.slf4j:slf4j-simple:1.7.36"
_PARALLEL = 8


def class_path(*roots: str) -> list[Path]:
    """Return the files of some artifacts and of all they need.

    Raises:
        RivalFailedError: One cannot be fetched.
    """
    remotes = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context = MavenContext(repo_cache=cache_dir() / "maven", remote_repos=remotes)
    try:
        inputs, others = context.resolver.resolve([context.create_dependency(one) for one in roots])
        names = {f"{one.groupId}:{one.artifactId}:{one.version}" for one in (*inputs, *others)}
        with ThreadPoolExecutor(_PARALLEL) as pool:
            fetched = [
                pool.submit(context.create_dependency(name).artifact.resolve)
                for name in sorted(names)
            ]
            return [Path(one.result()) for one in fetched]
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        raise RivalFailedError(f"its jars cannot be fetched: {error}") from error


def runtime() -> list[Path]:
    """Return the class path of Kafka Connect."""
    return [*class_path(CONNECT), *class_path(_LOGGING)]


def plugin() -> list[Path]:
    """Return the files of the sink, the driver of Postgres among them."""
    return class_path(DEBEZIUM)


def artifact(path: Path) -> str:
    """Return the artifact that a file of the cache is, of whatever version."""
    return path.parents[1].name
