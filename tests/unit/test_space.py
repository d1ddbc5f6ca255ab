"""The search space: every draw is a specification, and the warm start lies within."""

import optuna
import pytest

from domain.detectors import DETECTORS
from domain.pipeline_spec import PipelineSpec
from tuning.space import DETECTORS as SEARCHED
from tuning.space import differences, drawn_of, spec_of, suggest, warm_start


def draws(count: int, seed: int) -> list[dict[str, object]]:
    """Return what a seeded sampler draws."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = []
    for _ in range(count):
        trial = study.ask()
        suggest(trial)
        drawn.append(dict(trial.params))
        study.tell(trial, 0.0)
    return drawn


CLUSTERED = {"mahalanobis", "gmm", "gmm-diag", "ensemble", "ensemble-wide"}
REDUCING = {"pca", "scales", "ensemble", "ensemble-wide"}
NEIGHBOURLY = {"glosh", "knn", "lof", "ensemble-wide"}


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Keep the sampler from talking."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_every_draw_is_a_specification() -> None:
    """No trial is lost to a configuration that cannot be."""
    specs = [spec_of(drawn) for drawn in draws(200, seed=1)]

    assert {spec.detector for spec in specs} == set(SEARCHED) == set(DETECTORS)


def test_equal_seeds_draw_equally() -> None:
    """A sweep can be repeated."""
    assert draws(20, seed=3) == draws(20, seed=3)
    assert draws(20, seed=3) != draws(20, seed=4)


def test_only_what_matters_is_drawn() -> None:
    """A parameter without effect would only mislead the sampler."""
    for drawn in draws(150, seed=2):
        whitened = str(drawn["features"]).endswith("-whitened")
        assert ("distance" in drawn) == whitened != ("detector" in drawn)
        detector = drawn["distance"] if whitened else drawn["detector"]
        assert ("gate_sd" in drawn) == str(drawn["features"]).startswith("gated")
        assert ("horizon_s" in drawn) == whitened
        assert ("variance" in drawn) == (detector in REDUCING)
        assert ("clusters" in drawn) == (detector in CLUSTERED)
        assert ("centres" in drawn) == (detector in {"kmeans", "minibatch"})
        assert ("neighbours" in drawn) == (detector in NEIGHBOURLY)
        assert ("margin" in drawn) == ("quantile" in drawn) == (drawn["threshold"] == "margin")
        assert ("return_s" in drawn) == (drawn["threshold"] == "evt")


@pytest.mark.parametrize("spec", warm_start(1000), ids=lambda spec: spec.to_json())
def test_the_warm_start_lies_within_the_space(spec: PipelineSpec) -> None:
    """What the sampler is told to begin with comes back unchanged through its distributions."""
    study = optuna.create_study()
    study.enqueue_trial(drawn_of(spec))
    trial = study.ask()
    suggest(trial)

    assert spec_of(trial.params) == spec


def test_a_short_sweep_begins_with_the_defaults_and_leaves_room() -> None:
    """Half of the trials at most are known configurations; the first is the default one."""
    assert warm_start(1) == (PipelineSpec(),)
    assert len(warm_start(8)) == 4
    assert len({spec.to_json() for spec in warm_start(1000)}) == len(warm_start(1000))


def test_differences_name_what_is_not_default() -> None:
    """A model's card shows what was chosen, not all there is."""
    assert differences(PipelineSpec()) == {}
    assert differences(PipelineSpec(detector="gmm", clusters=3)) == {
        "detector": "gmm",
        "clusters": 3,
    }
