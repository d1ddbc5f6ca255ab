"""A receiver of webhooks that takes, fails or hangs, and one incident to tell it of."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from domain.machines import MachineClass, Sensor
from storage import roster_store, verdicts
from storage.connect import session
from storage.settings import StorageSettings

SECRET = "0123456789abcdef0123456789abcdef"
T0_US = 1_750_000_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def number(self) -> int:
        """Number of the delivery."""
        return int(self.headers["x-millwright-delivery"])

    @property
    def told(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(slots=True, kw_only=True)
class Receiver:
    """A real HTTP server on loopback.

    Attributes:
        url: Where it listens.
        mood: What it does with the next request.
        requests: All that came, taken or not.
        taken: Those that were answered with 2xx.
    """

    url: str = ""
    mood: Literal["take", "fail", "hang"] = "take"
    requests: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver for the time of the block."""
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers["content-length"])
            got = Received(
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(size),
            )
            state.requests.append(got)
            mood = state.mood
            if mood == "hang":
                state.released.wait(60)
                return
            if mood == "take":
                state.taken.append(got)
            self.send_response(200 if mood == "take" else 500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A courier that was killed leaves its connection behind: no news here."""

    with Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.released.set()
            server.shutdown()
            thread.join()


def incident(key: int, kind: verdicts.Kind = "machine", **more: Any) -> verdicts.Incident:
    """Return an incident of a machine as the scorer finds it."""
    fields: dict[str, Any] = {
        "machine_key": key,
        "kind": kind,
        "began_us": T0_US,
        "opened_us": T0_US + 2_000_000,
        "last_seen_us": T0_US + 5_000_000,
        "peak_score": 3.5,
        "anomalies": 6,
        "root_sensor": "vibration",
        "evidence": (
            verdicts.Contribution(sensor="vibration", share=0.8, expected=0.2, observed=0.9),
            verdicts.Contribution(sensor="flow", share=0.2, expected=1.0, observed=1.1),
        ),
        "model_version": 1,
    }
    return verdicts.Incident(**(fields | more))


def machines(storage: StorageSettings, *names: str) -> list[int]:
    """Register machines of the class blower; return their keys."""
    sensors = tuple(Sensor(name=name) for name in ("vibration", "flow"))
    with session(storage) as on:
        roster_store.register_class(on, MachineClass(name="blower", sensors=sensors, period_s=0.5))
        made = roster_store.register_machines(on, names, "blower")
    return [made[name].key for name in names]
