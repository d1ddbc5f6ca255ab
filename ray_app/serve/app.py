"""The Serve applications of `serve_config.yaml`: `predictor`, `inference`, `api`, `console`.

A builder only says what to deploy; settings are read, and clients opened, inside each replica.
`args` of an application in the configuration file are fields of `ray_app.settings.Environment`.
"""

from typing import Any

from ray import serve
from ray.serve import Application

from ray_app.serve.asgi import App


@serve.deployment(name="predictor")
@serve.ingress()
class Predictor:
    """Ingress and model in one: a hop to a second deployment would cost more than the answer."""

    def __init__(self, flags: dict[str, Any]) -> None:
        self._flags = flags

    def __serve_build_asgi_app__(self) -> App:
        """Return the application, inside the replica."""
        from ray_app.metrics import process_metrics
        from ray_app.serve.context import ServeContext
        from ray_app.serve.predictor import PredictApp

        context = ServeContext.make(self._flags, "predictor")
        return PredictApp(context.scorer(), context.champions, context.guard, process_metrics())


@serve.deployment(name="inference")
@serve.ingress()
class Inference:
    """The Open Inference Protocol; apart, so that who speaks it takes nobody's place."""

    def __init__(self, flags: dict[str, Any]) -> None:
        self._flags = flags

    def __serve_build_asgi_app__(self) -> App:
        """Return the application, inside the replica."""
        from ray_app.metrics import process_metrics
        from ray_app.serve.context import ServeContext
        from ray_app.serve.inference import InferenceApp

        context = ServeContext.make(self._flags, "predictor")
        return InferenceApp(context.scorer(), context.champions, context.guard, process_metrics())


@serve.deployment(name="api")
@serve.ingress()
class Api:
    """Machines, incidents, models and the rest, over Postgres."""

    def __init__(self, flags: dict[str, Any]) -> None:
        self._flags = flags

    def __serve_build_asgi_app__(self) -> App:
        """Return the application, inside the replica."""
        from ray_app.serve.api import build
        from ray_app.serve.context import ServeContext

        return build(ServeContext.make(self._flags, "api"))


@serve.deployment(name="console")
@serve.ingress()
class Console:
    """Pages for people, and the health of the whole."""

    def __init__(self, flags: dict[str, Any]) -> None:
        self._flags = flags

    def __serve_build_asgi_app__(self) -> App:
        """Return the application, inside the replica."""
        from ray_app.console.app import build
        from ray_app.serve.context import ServeContext

        return build(ServeContext.make(self._flags, "console"))


def predictor(args: dict[str, Any]) -> Application:
    """Build the application `predictor`."""
    return _bound(Predictor, args)


def inference(args: dict[str, Any]) -> Application:
    """Build the application `inference`."""
    return _bound(Inference, args)


def api(args: dict[str, Any]) -> Application:
    """Build the application `api`."""
    return _bound(Api, args)


def console(args: dict[str, Any]) -> Application:
    """Build the application `console`."""
    return _bound(Console, args)


def _bound(deployment: Any, flags: dict[str, Any]) -> Application:
    bound: Application = deployment.bind(flags)
    return bound
