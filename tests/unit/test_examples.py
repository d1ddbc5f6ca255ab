"""The examples in docstrings do what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("domain", "observability", "storage", "ingestion", "tuning", "ray_app")
_WITH_EXAMPLES = sorted(
    str(path.relative_to(_ROOT).with_suffix("")).replace("/", ".")
    for package in _PACKAGES
    for path in (_ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", _WITH_EXAMPLES)
def test_examples_hold(name: str) -> None:
    """Each module that shows an example is run."""
    failed, tried = doctest.testmod(importlib.import_module(name))

    assert tried
    assert not failed
