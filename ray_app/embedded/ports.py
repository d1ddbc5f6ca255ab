"""Ports on loopback: given, preferred or free."""

import socket

from domain.errors import ConflictError

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Say whether nothing listens on a TCP port of this host."""
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that is free now."""
    with reserve() as probe:
        return int(probe.getsockname()[1])


def reserve() -> socket.socket:
    """Return a socket that keeps a free port from being given to others until it is closed."""
    held = socket.socket()
    held.bind((LOOPBACK, 0))
    return held


def choose(variable: str, given: int | None, preferred: int, host: str = LOOPBACK) -> int:
    """Return the given port, else the preferred one when it is free, else any free one.

    Args:
        variable: The setting that gives the port, for the error.
        given: What the user asked for.
        preferred: The port people expect.
        host: Address to listen on.

    Raises:
        ConflictError: The port asked for is in use.
    """
    if given is None:
        return preferred if is_free(preferred, host) else free_port()
    if not is_free(given, host):
        raise ConflictError(
            f"port {given} of {host} is in use already. Stop what listens there, or set "
            f"{variable} to another port, or leave it unset to take a free one"
        )
    return given
