"""Couriers killed with -9 while they deliver: every message arrives, under one number."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from domain.webhooks import Format
from storage import verdicts, webhooks
from storage.connect import rows, session
from storage.settings import StorageSettings
from tests.faults.case import Case, times
from tests.ingest_support import until
from tests.webhook_support import SECRET, T0_US, incident, machines, receiver

_MESSAGES = 40


@contextmanager
def _courier(storage: StorageSettings) -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("courier_process.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(storage)) + "\n")
        process.stdin.flush()
        yield process
        process.kill()


def test_no_message_is_lost_whenever_a_courier_is_killed(case: Case) -> None:
    """Killed between claim, request and settlement; what is repeated has the number it had."""
    draw = random.Random(0)
    keys = machines(case.storage, *(f"hooked-{n}" for n in range(_MESSAGES // 2)))
    kills = times(4, 15)
    with receiver() as hook:
        with session(case.storage) as on:
            webhooks.add(on, hook.url, Format.JSON, SECRET, who="ada")
        for at in range(kills):
            with session(case.storage) as on:
                for key in keys[at::kills]:
                    verdicts.open_incident(on, incident(key))
                    verdicts.update_incident(on, incident(key, closed_us=T0_US + 65_000_000))
            seen = len(hook.requests)
            with _courier(case.storage):
                until(lambda: len(hook.requests) > seen)  # noqa: B023 - called at once
                time.sleep(draw.uniform(0, 0.02))
        with _courier(case.storage):
            until(lambda: _waiting(case.storage) == 0)

    arrived = {one.number for one in hook.taken}
    with session(case.storage) as on:
        written = {number for (number,) in rows(on, "SELECT id FROM webhook_deliveries")}
        states = rows(on, "SELECT DISTINCT state FROM webhook_deliveries")
    assert len(written) == _MESSAGES
    assert arrived == written
    assert states == [("delivered",)]
    bodies = {(one.number, one.body) for one in hook.taken}
    assert len(bodies) == _MESSAGES, "a message that is repeated is the same"
    order = [one.number for one in hook.taken]
    first = {number: order.index(number) for number in written}
    for opened, closed in zip(sorted(written)[::2], sorted(written)[1::2], strict=True):
        assert first[opened] < first[closed]


def _waiting(storage: StorageSettings) -> int:
    with session(storage) as on:
        return int(
            rows(on, "SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting'")[0][0]
        )
