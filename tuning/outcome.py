"""How a sweep ended."""

from dataclasses import dataclass, field

from domain.pipeline_spec import PipelineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        sweep: Its id.
        machine_class: What was swept.
        trials: Trials that ended, the finalists' second ones included.
        failed: How many of them could not be judged.
        version: Of the model it made.
        promoted: It is the champion now.
        reason: Why, or why not.
        objective: Label-free, mean over the replays.
        figures: Every figure of the model by name.
        spec: The chosen configuration.
        run_id: MLflow's parent run; empty if MLflow was away.
        seconds: From the call to the decision.
        trouble: What could not be done beside, in words; empty if all was.
    """

    sweep: str
    machine_class: str
    trials: int
    failed: int
    version: int
    promoted: bool
    reason: str
    objective: float
    figures: dict[str, float] = field(repr=False)
    spec: PipelineSpec
    run_id: str
    seconds: float
    trouble: str = ""

    def sentence(self) -> str:
        """Return the outcome for people."""
        did = "promoted" if self.promoted else "not promoted"
        return (
            f"{self.machine_class} version {self.version} ({self.spec.features}, "
            f"{self.spec.detector}) is {did}: {self.reason}"
        ) + (f". {self.trouble}" if self.trouble else "")
