"""Settings: precedence, defaults, and every mistake told at once."""

from pathlib import Path

import pytest

from domain.errors import SettingsError
from ray_app.settings import Settings, field_names

_ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the shell of the tester has set."""
    for name in (*field_names(), "KAFKA_SECURITY_PROTOCOL", "POSTGRES_SSLMODE"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    """Nothing configured: our own services, two readings a second of twenty sensors."""
    settings = Settings.load(cwd=tmp_path)

    assert (settings.kafka, settings.storage, settings.tracking_uri) == (None, None, None)
    assert settings.env.kafka_topic == "machine.sensor.readings"
    assert settings.env.simulation_interval_ms == 500
    assert settings.env.num_sensors == 20
    assert settings.home.is_absolute()


def test_flags_beat_the_environment_which_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the user, the stronger."""
    (tmp_path / ".env").write_text("NUM_SENSORS=1\nNUM_MACHINES=1\nBATCH_SIZE=1\n")
    monkeypatch.setenv("NUM_SENSORS", "2")
    monkeypatch.setenv("NUM_MACHINES", "2")

    env = Settings.load({"num_sensors": 3, "batch_size": None}, cwd=tmp_path).env

    assert (env.num_sensors, env.num_machines, env.batch_size) == (3, 2, 1)


def test_every_wrong_variable_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody mends one variable only to hear of the next."""
    for name, value in {"NUM_SENSORS": "many", "POSTGRES_PORT": "0", "KAFKA_TOPIC": "a b"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as caught:
        Settings.load(cwd=tmp_path)

    assert len(caught.value.problems) == 3
    for name in ("NUM_SENSORS is 'many'", "POSTGRES_PORT is '0'", "KAFKA_TOPIC is 'a b'"):
        assert name in str(caught.value)


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a log line nor a traceback tells a password."""
    monkeypatch.setenv("POSTGRES_PASSWORD", "swordfish")
    monkeypatch.setenv("POSTGRES_HOST", "db")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:9092")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "swordfish")

    settings = Settings.load(cwd=tmp_path)

    assert settings.kafka is not None
    assert ("sasl.password", "swordfish") in settings.kafka.properties
    assert "swordfish" not in repr(settings)


def test_properties_of_a_configured_broker_pass_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A managed Kafka needs TLS and SASL, and we need not know every property."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "k:9092")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")

    settings = Settings.load(cwd=tmp_path)

    assert settings.kafka is not None
    assert settings.kafka.properties == (("security.protocol", "SASL_SSL"),)


def test_the_example_lists_every_variable_with_its_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever copies the example changes nothing; whoever reads it misses nothing."""
    text = (_ROOT / ".envrc.example").read_text()
    assert [name for name in field_names() if f"export {name}=" not in text] == []

    lines = [line.removeprefix("export ") for line in text.splitlines() if line[:6] == "export"]
    plain = Settings.load(cwd=tmp_path)
    for line in lines:
        name, _, value = line.partition("=")
        monkeypatch.setenv(name, value)

    assert Settings.load(cwd=tmp_path) == plain
