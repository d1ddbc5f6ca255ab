"""What stands ready: asked by people, load balancers and Kubernetes alike."""

from dataclasses import dataclass

from domain.errors import PlatformError
from ray_app.champions import Champions
from storage.connect import rows
from storage.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One dependency.

    Attributes:
        name: What it is.
        ready: Whether it answers as it should.
        detail: In words.
        required: Whether nothing works without it.
    """

    name: str
    ready: bool
    detail: str
    required: bool = True


def checks(pool: Pool, champions: Champions) -> tuple[Check, ...]:
    """Ask every dependency now."""
    return (_postgres(pool), _roster(champions), _models(champions))


def _postgres(pool: Pool) -> Check:
    try:
        with pool.session() as on:
            version = rows(on, "SELECT current_setting('server_version')")[0][0]
            rows(on, "SELECT FROM machine_classes LIMIT 1")
    except PlatformError as error:
        return Check(name="postgres", ready=False, detail=str(error))
    return Check(name="postgres", ready=True, detail=f"PostgreSQL {version}")


def _roster(champions: Champions) -> Check:
    machines = len(champions.known.roster.machines)
    detail = f"{machines} machines" if machines else "no machines yet: run `millwright simulate`"
    return Check(name="machines", ready=machines > 0, detail=detail, required=False)


def _models(champions: Champions) -> Check:
    loaded = champions.known.champions.values()
    names = ", ".join(f"{one.machine_class} v{one.version}" for one in loaded)
    return Check(
        name="champion",
        ready=bool(names),
        detail=names or "none yet: run `millwright sweep run`",
        required=False,
    )
