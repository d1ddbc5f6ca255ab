"""Starts HAProxy for Ray Serve with a configuration that is safe on a shared host.

Ray writes HAProxy's configuration and starts the binary that it is told of; that is a small script
which runs this file, with the real binary as the first argument. It stands alone, so that Python
needs only some 20 ms for it: nothing of ours and nothing heavy is imported.
"""

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1

_PROBLEM = "application/problem+json"
_AGAIN_S = 2

UNAVAILABLE = (
    "HTTP/1.1 {status}\r\n"
    f"Content-Type: {_PROBLEM}\r\n"
    "Cache-Control: no-store\r\n"
    f"Retry-After: {_AGAIN_S}\r\n"
    "Connection: close\r\n"
    "\r\n"
    '{{"type":"urn:millwright:problem:service-unavailable","title":"Service unavailable",'
    '"status":{code},"detail":"No replica could answer; try again in two seconds.",'
    '"instance":""}}'
)
_STATUSES = {502: "502 Bad Gateway", 503: "503 Service Unavailable", 504: "504 Gateway Timeout"}

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
    per request; 502 to 504 as problems that say when to come again, where Ray makes all of them
    a bare 500, and Serve's own refusals a line of text; predict without the watch over callers that
    leave.

    Args:
        written: As Ray wrote it.
        folder: Where `errors` put the problems.
    """
    text = re.sub(r"^(\s*bind )\*?:(\d+)", r"\g<1>127.0.0.1:\2", written, flags=re.MULTILINE)
    text = text.replace(" mode 666 level admin", " mode 600 level admin")
    text = re.sub(r"^(\s*log \S+ local0) info$", r"\1 err", text, flags=re.MULTILINE)
    text = re.sub(
        r"^(\s*errorfile (50[234])) .*$", rf"\1 {folder}/\2.http", text, flags=re.MULTILINE
    )
    text = re.sub(
        r"^(frontend http_frontend)\n", rf"\1\n{_problems(folder)}", text, flags=re.MULTILINE
    )
    return re.sub(
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
        for code in _STATUSES
    )


def errors(folder: Path) -> None:
    """Write the answers that HAProxy itself gives when no replica can."""
    for code, status in _STATUSES.items():
        told = UNAVAILABLE.format(status=status, code=code)
        # HAProxy opens files in binary; so are line ends kept.
        (folder / f"{code}.http").write_bytes(told.encode())
        (folder / f"{code}.json").write_bytes(told.partition("\r\n\r\n")[2].encode())


def main(arguments: list[str]) -> None:
    """Make the configuration safe and become HAProxy; does not return."""
    binary, *given = arguments
    if "-f" in given:
        configuration = Path(given[given.index("-f") + 1])
        errors(configuration.parent)
        written = configuration.read_text(encoding="utf-8")
        configuration.write_text(safe(written, str(configuration.parent)), encoding="utf-8")
    # Who dies by kill -9 stops nothing: then the kernel does, or the port would stay taken.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(binary, [binary, *given])  # noqa: S606 - the whole point: no shell in between


if __name__ == "__main__":
    main(sys.argv[1:])
