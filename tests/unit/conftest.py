"""How hard the property tests try: the same examples each time in `make test`, more at night."""

import os

from hypothesis import HealthCheck, settings

# Compiled code is slow at its first call and a busy machine at any: no deadline per example.
settings.register_profile("test", deadline=None, derandomize=True)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("MILLWRIGHT_TEST_PROFILE", "test"))
