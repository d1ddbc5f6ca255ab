"""Where Postgres is."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """How to reach the database.

    Attributes:
        host: Host name, or the directory of a Unix socket.
        port: TCP port, or the socket's number.
        user: Role to log in as.
        password: Its password; never shown.
        database: Name of the database.
        options: libpq options that pass through, such as `sslmode` and `sslrootcert`.
    """

    host: str
    port: int = 5432
    user: str = "sensor_user"
    password: str = field(default="", repr=False)
    database: str = "sensor_data"
    options: tuple[tuple[str, str], ...] = ()

    def libpq(self) -> dict[str, str]:
        """Return keyword arguments for a libpq client."""
        return {
            "host": self.host,
            "port": str(self.port),
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            **dict(self.options),
        }
