"""`millwright simulate`: a fleet that sends, and now and then fails."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ray_app.cli import context
from ray_app.cli.output import DryRun, line, progress
from ray_app.cli.signals import stopped_by_signals

if TYPE_CHECKING:
    from ray_app.producer_plan import ProducerPlan

_REPORT_EVERY_S = 2.0


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    machines: Annotated[
        int | None, typer.Option(min=1, help="How many; NUM_MACHINES by default.")
    ] = None,
    sensors: Annotated[
        int | None, typer.Option(min=1, help="Per machine; NUM_SENSORS by default.")
    ] = None,
    interval_ms: Annotated[
        int | None, typer.Option(min=1, help="SIMULATION_INTERVAL_MS by default.")
    ] = None,
    machine_class: Annotated[
        str, typer.Option("--class", help="A shipped class or the path of a class file.")
    ] = "pump",
    history_hours: Annotated[
        float, typer.Option(min=0, help="Healthy past to send first, as fast as it goes.")
    ] = 1.0,
    speed: Annotated[
        float, typer.Option(min=0.001, help="Seconds of event time per second once live.")
    ] = 1.0,
    failures: Annotated[
        float, typer.Option(min=0, help="Random failures per machine and hour.")
    ] = 0.5,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Decides everything; SIMULATION_SEED by default.")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Let simulated machines send readings until Ctrl-C."""
    from ray_app.producer_plan import ProducerPlan

    found = context.settings(
        num_machines=machines,
        num_sensors=sensors,
        simulation_interval_ms=interval_ms,
        simulation_seed=seed,
    )
    live_us = time.time_ns() // 1000
    name = Path(machine_class).stem
    plan = ProducerPlan(
        machines=tuple(f"{name}-{at:02}" for at in range(1, found.env.num_machines + 1)),
        start_us=live_us - round(history_hours * 3600e6),
        live_us=live_us,
        machine_class=machine_class,
        num_sensors=found.env.num_sensors,
        period_s=found.env.simulation_interval_ms / 1000,
        speed=speed,
        seed=found.env.simulation_seed,
        failures_per_machine_hour=failures,
    )
    if dry_run:
        line(
            f"would let {len(plan.machines)} machines of class {name} with {plan.num_sensors} "
            f"sensors send a reading every {plan.period_s:g} s"
        )
        return
    _produce(found, plan)


def _produce(found: Any, plan: "ProducerPlan") -> None:
    """Run a producer: as an actor of the running platform, or in this process without one."""
    from ray_app.embedded import state

    kafka, storage = context.required_kafka(found), context.required_storage(found)
    running = state.read(found.home)
    worker = f"simulate-{time.time_ns() // 1_000_000}"
    if running is None or not running.ray:
        from ray_app.producer_actor import ProducerActor

        producer = ProducerActor(kafka, storage, plan, worker)
        with stopped_by_signals(producer.stop):
            line(f"sent {producer.run():,} readings")
        return
    from ray_app import cluster

    with cluster.joined(found.home, running.ray):
        actor = cluster.as_actor(_producer_class(), kafka, storage, plan, worker, name=worker)
        _follow(actor)


def _producer_class() -> type:
    from ray_app.producer_actor import ProducerActor

    return ProducerActor


def _follow(actor: Any) -> None:
    """Tell an actor's progress until it ends or the user ends it."""
    import ray

    run = actor.run.remote()
    with stopped_by_signals(lambda: ray.get(actor.stop.remote())):
        while not ray.wait([run], timeout=_REPORT_EVERY_S)[0]:
            progress(f"sent {ray.get(actor.state.remote()).delivered:,} readings")
        line(f"sent {ray.get(run):,} readings")
    ray.kill(actor)
