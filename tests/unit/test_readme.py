"""The README's table of settings is the settings code."""

import re
from pathlib import Path

import pytest

from ray_app.settings import Environment

_README = (Path(__file__).parents[2] / "README.md").read_text()
_ROWS = dict(re.findall(r"^\| `([A-Z_]+)`[^|]*\| ([^|]*) \|", _README, flags=re.MULTILINE))


@pytest.mark.parametrize("name", sorted(Environment.model_fields))
def test_every_variable_stands_in_the_table_with_its_default(name: str) -> None:
    """A variable that is not told does not exist for a newcomer."""
    default = Environment.model_fields[name].default
    shown = _ROWS[name.upper()]

    if default is None:
        assert shown.startswith("unset") or "free one" in shown
    else:
        plain = default.get_secret_value() if hasattr(default, "get_secret_value") else default
        assert shown.strip("`") == (f"{plain:g}" if isinstance(plain, float) else str(plain))


def test_the_table_names_nothing_else() -> None:
    """A variable that was renamed leaves no trace."""
    known = {name.upper() for name in Environment.model_fields}

    assert set(_ROWS) <= known
