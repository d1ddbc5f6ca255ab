"""Starts HAProxy for Ray Serve with a configuration that is safe on a shared host.

Ray writes HAProxy's configuration and starts the binary that it is told of; that is a small script
which runs this, with the real binary as the first argument. Python without site-packages needs only
some 20 ms for it: of ours it imports `front_stand_in`, and nothing heavy.
"""

import os
import re
from pathlib import Path

from ray_app import front_stand_in

_MADE_SAFE = "# Written by Ray Serve, made safe by Millwright.\n"

_PROBLEM = "application/problem+json"
_AGAIN_S = 2

_TOLD = {
    408: ("Request Timeout", "Too slow", "The request or its answer took too long."),
    502: ("Bad Gateway", "Service unavailable", "No replica could answer; try again."),
    503: ("Service Unavailable", "Service unavailable", "No replica could answer; try again."),
    504: ("Gateway Timeout", "Service unavailable", "No replica could answer in time; try again."),
}
"""By status: its name in HTTP, and title and detail of the problem."""

_LIMITS = """\
    # A slow caller holds a connection of ours, not a place in a replica: header and body, or the
    # first 15 KB of one, are here before a replica is asked. Replicas watch over the rest.
    timeout http-request 10s
    http-request wait-for-body time 10s
"""
_PREDICT = """\
    # Predict only reads, so nobody needs to be told that its caller left, the time limit is ours,
    # and a request whose replica died in the middle of it may be asked again of another. The same
    # holds for the Open Inference Protocol.
    http-request set-header x-request-disconnect-disabled ?1
    http-request set-header x-request-timeout-seconds 0
    # A replica would draw the id of a request that brings none for ten times the price.
    http-request set-header x-request-id %[uuid] if !{ req.hdr(x-request-id) -m found }
    retry-on conn-failure empty-response
"""


def safe(written: str, folder: str) -> str:
    """Return Ray's configuration with what it cannot be told otherwise.

    Ports of metrics and statistics on loopback; the admin socket for its owner alone; no log line
    per request; refusals as problems that say when to come again, where Ray makes most of them
    a bare 500, HAProxy a page and Serve a line of text; limits for slow callers; predict without
    the watch over callers that leave.

    Args:
        written: As Ray wrote it.
        folder: Where `errors` put the problems.
    """
    if written.startswith(_MADE_SAFE):
        return written
    text = re.sub(r"^(\s*bind )\*?:(\d+)", r"\g<1>127.0.0.1:\2", written, flags=re.MULTILINE)
    text = text.replace(" mode 666 level admin", " mode 600 level admin")
    text = re.sub(r"^(\s*log \S+ local0) info$", r"\1 err", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*errorfile \d+ .*\n", "", text, flags=re.MULTILINE)
    files = "".join(f"    errorfile {code} {folder}/{code}.http\n" for code in _TOLD)
    text = re.sub(r"^defaults\n", f"defaults\n{files}", text, flags=re.MULTILINE)
    rules = _LIMITS + _problems(folder)
    text = re.sub(r"^(frontend http_frontend)\n", rf"\1\n{rules}", text, flags=re.MULTILINE)
    return _MADE_SAFE + re.sub(
        r"^(backend http-(?:predictor|inference))\n", rf"\1\n{_PREDICT}", text, flags=re.MULTILINE
    )


def _problems(folder: str) -> str:
    """Return the rules that turn the bare text of Serve's own refusals into problems.

    A replica or Serve itself refuses what waits too long or cannot be taken with a line of text;
    what an application of ours refuses says itself what it is.
    """
    return "".join(
        f"    http-response return status {code} content-type {_PROBLEM} "
        f'file {folder}/{code}.json hdr Retry-After "{_AGAIN_S}" hdr Cache-Control no-store '
        f"if {{ status {code} }} {{ res.hdr(content-type) -m beg text/plain }}\n"
        for code in _TOLD
    )


def errors(folder: Path) -> None:
    """Write the answers that HAProxy itself gives."""
    for code, (name, title, detail) in _TOLD.items():
        kind = title.lower().replace(" ", "-")
        body = (
            f'{{"type":"urn:millwright:problem:{kind}","title":"{title}","status":{code},'
            f'"detail":"{detail}","instance":""}}'
        )
        head = (
            f"HTTP/1.1 {code} {name}\r\nContent-Type: {_PROBLEM}\r\nCache-Control: no-store\r\n"
            f"Retry-After: {_AGAIN_S}\r\nConnection: close\r\n\r\n"
        )
        # HAProxy opens files in binary; so are line ends kept.
        (folder / f"{code}.http").write_bytes((head + body).encode())
        (folder / f"{code}.json").write_bytes(body.encode())


def hidden(text: str) -> str:
    """Return a configuration without the public port: what knows no application has no answers.

    Ray starts HAProxy before it is told of the applications: it would answer 404 until then.
    """
    return re.sub(
        r"^(frontend http_frontend\n(?:(?!\S).*\n)*?)\s+bind .*\n", r"\1", text, flags=re.MULTILINE
    )


def prepare(given: list[str]) -> list[str]:
    """Make the configuration safe and have HAProxy watched; return its arguments.

    Args:
        given: Ray's arguments; `-c` only checks.
    """
    if "-f" not in given:
        return given
    configuration = Path(given[given.index("-f") + 1])
    folder = configuration.parent
    errors(folder)
    text = safe(configuration.read_text(encoding="utf-8"), str(folder))
    # Ray's comments speak of it as well.
    if not re.search(r"^\s*use_backend ", text, flags=re.MULTILINE):
        configuration.write_text(hidden(text), encoding="utf-8")
        return given
    configuration.write_text(text, encoding="utf-8")
    if "-c" in given:
        return given
    relieved = front_stand_in.relieve(folder)
    front_stand_in.enter(text, folder)
    return given if relieved is None else _ending(given, relieved)


def _ending(given: list[str], process: int) -> list[str]:
    """Return arguments by which HAProxy also ends this process, once its own port is open.

    Both have the port for a moment, which `-dR` would forbid.
    """
    words = [one for one in given if one != "-dR"]
    if "-sf" not in words:
        return ["-sf", str(process), *words]
    at = words.index("-sf") + 1
    return [*words[:at], str(process), *words[at:]]


def main(arguments: list[str]) -> None:
    """Become HAProxy; does not return."""
    binary, *given = arguments
    words = prepare(given)
    # Who dies by kill -9 stops nothing: then the kernel does, or the port would stay taken.
    front_stand_in.die_with_parent()
    os.execv(binary, [binary, *words])  # noqa: S606 - the whole point: no shell in between
