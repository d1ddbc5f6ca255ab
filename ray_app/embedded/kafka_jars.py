"""Apache Kafka's jars: resolved once from Maven, pinned by SHA-256, verified at every start.

`kafka.lock` beside this file holds one `group:artifact:version sha256` per line and no address; the
repository is Maven Central or whatever jgo's own configuration (`~/.config/jgo.conf`) names.
`python -m ray_app.embedded.kafka_jars` writes the lock anew (`make lock`).
"""

import fcntl
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from domain.errors import ServiceUnavailableError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

VERSION = "4.4.0"
_LOCK = Path(__file__).with_name("kafka.lock")
_ROOT = f"org.apache.kafka:kafka_2.13:{VERSION}"
_LOG_CORE = "org.apache.logging.log4j:log4j-core:"
_LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:"
_PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One pinned file.

    Attributes:
        coordinate: `group:artifact:version`.
        sha256: Of the file, in hexadecimal.
    """

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Return the name Maven gives the file."""
        _group, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_lock(text: str) -> tuple[Jar, ...]:
    """Return the jars a lock names; lines that start with `#` are comments."""
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(Jar(coordinate=words[0], sha256=words[1]) for words in lines)


def write_lock(jars: Iterable[Jar]) -> str:
    """Return the text of a lock."""
    lines = sorted(f"{jar.coordinate} {jar.sha256}" for jar in jars)
    return "\n".join(("# Written by `make lock`.", *lines, ""))


def cache_dir() -> Path:
    """Return the folder that all data directories of this user share."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "millwright"


def class_path(cache: Path | None = None) -> str:
    """Return Java's class path of the broker; fetches what is not cached, verifies everything.

    Who starts while another one fetches waits for it and finds everything there.

    Raises:
        ServiceUnavailableError: A jar could not be fetched, or is not the pinned one.
    """
    folder = (cache or cache_dir()) / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    jars = read_lock(_LOCK.read_text())
    if _missing(jars, folder):
        with _alone(folder):
            context = _maven(folder.parent / "maven")
            with ThreadPoolExecutor(_PARALLEL) as pool:
                fetching = [
                    pool.submit(_fetch, context, jar, folder) for jar in _missing(jars, folder)
                ]
                for result in fetching:
                    result.result()
    return ":".join(str(folder / jar.file_name) for jar in jars)


def _missing(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    return [jar for jar in jars if not _is_intact(folder / jar.file_name, jar.sha256)]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other starts of this user out; the system lets go of a lock whose holder died."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _maven(repository: Path) -> "MavenContext":
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    remotes = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    return MavenContext(repo_cache=repository, remote_repos=remotes)


def _fetch(context: "MavenContext", jar: Jar, folder: Path) -> None:
    group, artifact, version = jar.coordinate.split(":")
    try:
        found = Path(context.project(group, artifact).at_version(version).artifact().resolve())
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        raise ServiceUnavailableError(
            "Kafka",
            f"{jar.file_name} could not be fetched for its first start ({type(error).__name__})",
            "Connect this machine to a Maven repository once, or point KAFKA_BOOTSTRAP_SERVERS to "
            "a Kafka that runs already",
        ) from error
    if not _is_intact(found, jar.sha256):
        # Away with it, or the next start would find the same wrong file.
        found.unlink()
        raise ServiceUnavailableError(
            "Kafka",
            f"{jar.file_name} from the Maven repository is not the file pinned in kafka.lock",
            "It was removed and is not used; check the repository that jgo is configured with",
        )
    # Atomic, so that a start that looks meanwhile never sees half a file.
    partial = folder / f".{jar.file_name}.{os.getpid()}"
    partial.write_bytes(found.read_bytes())
    partial.replace(folder / jar.file_name)
    found.unlink()


def _is_intact(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def resolve(repository: Path) -> tuple[Jar, ...]:
    """Return what Maven says the broker needs, with the checksums of what it delivers."""
    context = _maven(repository)
    inputs, others = context.resolver.resolve([context.create_dependency(_ROOT)])
    names = {f"{d.groupId}:{d.artifactId}:{d.version}" for d in (*inputs, *others)}
    # Without a binding for slf4j the broker would be mute. It is no second root: the versions its
    # parent manages would override Kafka's own.
    core = next(name for name in names if name.startswith(_LOG_CORE))
    names.add(core.replace(_LOG_CORE, _LOG_BINDING))
    return tuple(_pinned(context, name) for name in sorted(names))


def _pinned(context: "MavenContext", coordinate: str) -> Jar:
    path = Path(context.create_dependency(coordinate).artifact.resolve())
    return Jar(coordinate=coordinate, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


if __name__ == "__main__":
    _LOCK.write_text(write_lock(resolve(cache_dir() / "maven")))
    sys.stdout.write(f"wrote {_LOCK.name}\n")
