"""A courier in a process of its own, to be killed; settings come by stdin, it runs until then."""

import json
import sys

from observability.metric import NoMetrics
from ray_app.courier import Courier
from storage.settings import StorageSettings


def main() -> None:
    """Deliver until stdin ends."""
    settings = StorageSettings(**json.loads(sys.stdin.readline()))
    courier = Courier(settings, NoMetrics(), lease_s=1.0, timeout_s=0.9)
    courier.start()
    sys.stdin.read()
    courier.close()


if __name__ == "__main__":
    main()
