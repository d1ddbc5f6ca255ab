"""The Compose file against its schema, and against what the code expects."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from ray_app.embedded import kafka_jars
from ray_app.settings import Environment, Settings, field_names

_ROOT = Path(__file__).parents[2]
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, Any] = _COMPOSE["services"]
_PORTS = {
    "ray-head": {8000, 8265},
    "mlflow": {5000},
    "prometheus": {9090},
    "grafana": {3000},
    "kafka-ui": {8080},
    "pgadmin": {5050},
}
_SECRETS = {"POSTGRES_PASSWORD": "pg", "GRAFANA_PASSWORD": "g", "PGADMIN_PASSWORD": "pa"}


def _substituted(text: str, given: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, operator, rest = found[1], found[2], found[3]
        if name in given:
            return given[name]
        assert operator == ":-", f"{name} is required and is not a secret"
        return rest

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text).replace("$$", "$")


def _environment(service: str) -> dict[str, str]:
    found = _SERVICES[service].get("environment", {})
    return {name: _substituted(str(value), _SECRETS) for name, value in found.items()}


def test_the_file_is_valid_by_the_specification() -> None:
    """The schema is the one that Docker Compose itself uses."""
    schema = json.loads((_ROOT / "tests/data/compose-spec.json").read_text())

    jsonschema.validate(_COMPOSE, schema)


@pytest.mark.parametrize("name", sorted(_SERVICES))
def test_every_service_is_pinned_checked_and_not_root(name: str) -> None:
    """An image without a version changes by itself; a service without a check is a guess."""
    service = _SERVICES[name]

    assert re.search(r":[\w.-]*\d[\w.-]*$", service["image"]), service["image"]
    assert not service["image"].endswith("latest")
    assert service["user"] not in {"root", "0"}
    assert service["healthcheck"]["test"]


def test_ports_are_the_documented_ones_on_loopback() -> None:
    """Nothing is open to the network, and every page is where the README says."""
    published = {
        name: {int(port.split(":")[1]) for port in service["ports"]}
        for name, service in _SERVICES.items()
        if "ports" in service
    }

    assert published == _PORTS
    assert all(
        port.startswith("127.0.0.1:")
        for service in _SERVICES.values()
        for port in service.get("ports", ())
    )


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_the_environment_is_what_the_settings_read(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every variable is known, every address names a service and the port it listens on."""
    variables = _environment(name)
    unknown = {key for key in variables if not key.startswith("RAY_")} - set(field_names())
    assert unknown == set()

    for key in field_names():
        monkeypatch.delenv(key, raising=False)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    settings = Settings.load(cwd=tmp_path)

    assert settings.kafka is not None
    assert settings.storage is not None
    assert settings.kafka.bootstrap_servers == "kafka:9092"
    listeners = _environment("kafka")["KAFKA_ADVERTISED_LISTENERS"]
    assert settings.kafka.bootstrap_servers in listeners
    assert settings.storage.host in _SERVICES
    assert settings.tracking_uri == "http://mlflow:5000"
    postgres = _environment("postgres")
    assert settings.storage.user == postgres["POSTGRES_USER"]
    assert settings.storage.password == postgres["POSTGRES_PASSWORD"]
    assert settings.storage.database == postgres["POSTGRES_DB"]
    assert settings.kafka.properties == ()


def test_defaults_are_those_of_the_code() -> None:
    """A variable that is left out means the same in a container as outside."""
    variables = _environment("ray-head")
    fields = Environment.model_fields
    for name in ("KAFKA_TOPIC", "KAFKA_GROUP_ID", "NUM_SENSORS", "BATCH_SIZE", "POSTGRES_DB"):
        assert variables[name] == str(fields[name.lower()].default), name


def test_the_broker_is_the_same_release_as_the_embedded_one() -> None:
    """What was tested without containers is what runs in them."""
    assert _SERVICES["kafka"]["image"] == f"apache/kafka:{kafka_jars.VERSION}"


def test_every_mounted_file_and_volume_is_there() -> None:
    """A missing file would be made as an empty folder by the engine."""
    mounts = [
        mount.split(":")[0]
        for service in _SERVICES.values()
        for mount in service.get("volumes", ())
    ]
    for mount in mounts:
        assert (_ROOT / mount).exists() if mount.startswith("./") else mount in _COMPOSE["volumes"]


def test_no_secret_is_written_down() -> None:
    """Passwords and the token come from `.env`, and their absence is an error at the start."""
    text = (_ROOT / "docker-compose.yml").read_text()

    for name in re.findall(r"(\w*PASSWORD\w*): (.*)", text):
        assert ":?" in name[1], name
    assert _COMPOSE["secrets"]["ray_token"] == {"environment": "RAY_TOKEN"}


def test_prometheus_finds_ray_with_its_token() -> None:
    """The token is mounted where the configuration reads it."""
    config = yaml.safe_load((_ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (discovery,) = config["scrape_configs"][0]["http_sd_configs"]

    assert discovery["url"].startswith("http://ray-head:8265/")
    assert discovery["authorization"]["credentials_file"] == "/run/secrets/ray_token"
    assert "ray_token" in _SERVICES["prometheus"]["secrets"]
