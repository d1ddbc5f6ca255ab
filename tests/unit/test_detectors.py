"""One conformance suite that every detector passes, and each against its estimator."""

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.cluster import BisectingKMeans, KMeans
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from domain.detectors import DETECTORS, Detector, prototypes
from domain.detectors.density import Glosh, condense
from domain.detectors.ellipsoids import FLOOR
from domain.detectors.neighbours import KEPT
from domain.pipeline_spec import PipelineSpec
from domain.readings import Matrix


def cloud(seed: int = 0, rows: int = 400, features: int = 6) -> Matrix:
    """Return two correlated clouds, standardised as features are."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(rows, features)) @ np.triu(np.ones((features, features))) / 2
    points[: rows // 2] += 3.0
    scaled: Matrix = (points - points.mean(axis=0)) / points.std(axis=0)
    return scaled


@pytest.fixture(params=sorted(DETECTORS))
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of each detector in turn."""
    return str(request.param)


def fitted(name: str, seed: int = 3, clusters: int = 2) -> Detector:
    """Return a detector fitted to the clouds."""
    return DETECTORS[name].fit(cloud(), PipelineSpec(clusters=clusters), seed=seed)


def test_scores_are_finite_and_not_negative(name: str) -> None:
    """A score is a distance, however far the row is from health."""
    rows = np.concatenate([cloud(1), 1e3 * cloud(2), np.zeros((1, 6))])

    scores = fitted(name).score(rows)

    assert scores.shape == (len(rows),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


def test_what_is_far_from_health_scores_higher(name: str) -> None:
    """Rows moved away from the clouds score above nearly all healthy ones."""
    detector = fitted(name)

    assert detector.score(cloud(5) + 12.0).min() > np.quantile(detector.score(cloud(5)), 0.99)


def test_scoring_is_pure(name: str) -> None:
    """Two calls agree, and the rows are left as they were."""
    detector, rows = fitted(name), cloud(4)
    before = rows.copy()

    first = detector.score(rows)

    np.testing.assert_array_equal(first, detector.score(rows))
    np.testing.assert_array_equal(rows, before)


def test_equal_seeds_fit_equal_detectors(name: str) -> None:
    """Training can be repeated."""
    one, other = fitted(name, seed=9).to_arrays(), fitted(name, seed=9).to_arrays()

    for key, array in one.items():
        np.testing.assert_array_equal(array, other[key])


def test_arrays_are_copies(name: str) -> None:
    """Whoever changes what was exported does not change the detector."""
    detector = fitted(name)
    before = detector.score(cloud(6))

    for array in detector.to_arrays().values():
        array[...] = 7.0

    np.testing.assert_array_equal(detector.score(cloud(6)), before)


def test_a_detector_survives_the_round_trip_through_arrays(name: str) -> None:
    """What was restored scores, blames and assigns as the original."""
    detector = fitted(name)
    restored = DETECTORS[name].restore(detector.to_arrays())

    np.testing.assert_array_equal(restored.score(cloud(7)), detector.score(cloud(7)))
    np.testing.assert_array_equal(restored.attribute(cloud(7)), detector.attribute(cloud(7)))
    np.testing.assert_array_equal(restored.assign(cloud(7)), detector.assign(cloud(7)))


def test_blame_is_not_negative_and_falls_on_the_feature_that_moved(name: str) -> None:
    """The feature that left health takes the largest part."""
    rows = np.repeat(cloud().mean(axis=0, keepdims=True), 6, axis=0) + 20 * np.eye(6)

    blame = fitted(name, clusters=1).attribute(rows)

    assert (blame >= 0).all()
    np.testing.assert_array_equal(blame.argmax(axis=1), np.arange(6))


def test_a_row_scores_the_same_alone_and_among_others(name: str) -> None:
    """Batching is for speed and changes nothing."""
    detector, rows = fitted(name), cloud(8, rows=20)

    alone = np.concatenate([detector.score(rows[at : at + 1]) for at in range(len(rows))])

    np.testing.assert_allclose(alone, detector.score(rows), rtol=1e-9)


def test_rows_that_are_all_equal_can_be_learnt(name: str) -> None:
    """Degenerate histories give a detector that still scores."""
    detector = DETECTORS[name].fit(np.zeros((60, 3)), PipelineSpec(clusters=4), seed=0)

    assert np.isfinite(detector.score(np.ones((2, 3)))).all()


def test_kmeans_equals_its_estimator() -> None:
    """The compiled distance is scikit-learn's."""
    estimator = KMeans(3, n_init=3, random_state=3).fit(cloud())

    scores = fitted("kmeans", clusters=3).score(cloud(1))

    np.testing.assert_allclose(scores, estimator.transform(cloud(1)).min(axis=1), rtol=1e-9)


@pytest.mark.parametrize(("name", "shape"), [("gmm", "full"), ("gmm-diag", "diag")])
def test_a_mixture_equals_its_estimator(name: str, shape: str) -> None:
    """The squared score is -2 log density but for a constant."""
    estimator = GaussianMixture(
        2, covariance_type=shape, reg_covar=FLOOR, max_iter=50, tol=1e-2, random_state=3
    ).fit(cloud())

    difference = fitted(name).score(cloud(1)) ** 2 + 2 * estimator.score_samples(cloud(1))

    np.testing.assert_allclose(difference, difference[0], rtol=1e-8)


def test_one_mahalanobis_cluster_is_the_textbook_distance() -> None:
    """With one cluster and a well-conditioned covariance nothing is left but its inverse."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5000, 3))
    detector = DETECTORS["mahalanobis"].fit(rows, PipelineSpec(clusters=1), seed=0)
    centred = rows - rows.mean(axis=0)
    inverse = np.linalg.inv(centred.T @ centred / len(rows))

    expected = np.sqrt(np.einsum("ij,jk,ik->i", centred, inverse, centred))

    np.testing.assert_allclose(detector.score(rows), expected, rtol=1e-6)


def test_noise_around_a_dense_core_teaches_dbscan_nothing() -> None:
    """Outliers in the training data do not become prototypes."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(500, 2)), rng.uniform(30, 60, size=(5, 2))])

    for name in ("dbscan", "hdbscan"):
        detector = DETECTORS[name].fit(rows, PipelineSpec(), seed=0)
        assert detector.score(np.array([[45.0, 45.0]]))[0] > 20


def test_density_methods_see_a_sample_of_long_histories() -> None:
    """More rows than a quadratic method can take are thinned, not refused."""
    rows = np.random.default_rng(0).normal(size=(2600, 3))

    for name in ("dbscan", "hdbscan"):
        detector = DETECTORS[name].fit(rows, PipelineSpec(), seed=0)
        assert np.quantile(detector.score(rows), 0.5) < 2


def test_the_guide_s_detector_is_one() -> None:
    """What `docs/development.md` shows fits, scores and survives its arrays."""
    guide = (Path(__file__).parents[2] / "docs" / "development.md").read_text()
    shown = re.search(r"<!-- example: detector -->\n```python\n(.*?)```", guide, re.DOTALL)
    assert shown
    room = vars(prototypes) | {"BisectingKMeans": BisectingKMeans}
    exec(shown[1], room)

    detector = room["fit_bisecting"](cloud(), PipelineSpec(clusters=2), seed=0)

    assert detector.score(cloud(5) + 12.0).min() > detector.score(cloud(5)).max()
    restored = prototypes.Prototypes.from_arrays(detector.to_arrays())
    np.testing.assert_array_equal(restored.score(cloud(1)), detector.score(cloud(1)))


@pytest.mark.parametrize("name", ["scales", "ensemble", "ensemble-wide"])
def test_an_ensembles_blame_sums_to_its_squared_score(name: str) -> None:
    """What members are owed adds up, so that contributions add up to the score."""
    detector = DETECTORS[name].fit(cloud(features=8), PipelineSpec(features="gated-scales"), seed=0)
    rows = np.concatenate([cloud(1, features=8), 20 * cloud(2, features=8)])

    np.testing.assert_allclose(detector.attribute(rows).sum(axis=1), detector.score(rows) ** 2)


def test_an_ensemble_is_the_mean_of_its_members_in_their_own_units() -> None:
    """Each length of window has its say once, whatever the size of its distances."""
    columns = cloud(features=8)
    detector = DETECTORS["scales"].fit(columns, PipelineSpec(features="gated-scales"), seed=0)
    alone = []
    for first in range(0, 8, 2):
        part = columns[:, first : first + 2]
        distances = DETECTORS["pca"].fit(part, PipelineSpec(), seed=0).score(part)
        alone.append(distances / np.quantile(distances, 0.9))

    np.testing.assert_allclose(detector.score(columns), np.mean(alone, axis=0))


def test_the_factor_of_local_outliers_is_its_estimators() -> None:
    """Where rows are further apart than the floor, the squared score is scikit-learn's factor."""
    estimator = LocalOutlierFactor(n_neighbors=10, novelty=True).fit(cloud())

    scores = fitted("lof").score(cloud(1))

    np.testing.assert_allclose(scores**2, -estimator.score_samples(cloud(1)), rtol=1e-8)


def test_neighbours_are_the_nearest_rows_that_were_kept() -> None:
    """The squared score is the mean of the squared distances to them."""
    estimator = NearestNeighbors(n_neighbors=10).fit(cloud())

    squared = estimator.kneighbors(cloud(1))[0] ** 2

    np.testing.assert_allclose(fitted("knn").score(cloud(1)) ** 2, squared.mean(axis=1), rtol=1e-9)


@pytest.mark.parametrize("name", ["knn", "lof", "glosh"])
def test_what_keeps_rows_keeps_few_and_sums_blame_to_the_squared_score(name: str) -> None:
    """A year of history takes the room of a sample, and no score goes unexplained."""
    detector = DETECTORS[name].fit(cloud(rows=5000), PipelineSpec(), seed=0)
    rows = np.concatenate([cloud(1), 20 * cloud(2)])

    assert max(len(one) for one in detector.to_arrays().values()) <= KEPT
    np.testing.assert_allclose(detector.attribute(rows).sum(axis=1), detector.score(rows) ** 2)


def test_glosh_measures_a_row_by_its_own_cluster() -> None:
    """As far from a loose cluster as from a dense one is less of an outlier, unlike by distance."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([0.2 * rng.normal(size=(250, 2)), 40 + 2 * rng.normal(size=(250, 2))])
    detector = DETECTORS["glosh"].fit(rows, PipelineSpec(), seed=0)
    dense, loose = detector.score(np.array([[3.0, 0.0], [46.0, 40.0]]))

    assert dense > 2 * loose
    assert len(np.unique(detector.assign(rows))) >= 2


def test_glosh_places_new_rows_about_where_a_new_hierarchy_would() -> None:
    """The nearest kept row stands in for a hierarchy that is made again with the row in it."""
    known, fresh = cloud(rows=300), np.concatenate([cloud(1, rows=20), 2 * cloud(2, rows=20)])
    detector = DETECTORS["glosh"].fit(known, PipelineSpec(), seed=0)

    exact = []
    for row in fresh:
        again = DETECTORS["glosh"].fit(np.vstack([known, row]), PipelineSpec(), seed=0)
        assert isinstance(again, Glosh)
        tree = again.tree
        exact.append(tree.leaves[-1] / tree.least[tree.cluster[-1]])

    assert spearmanr(detector.score(fresh), exact)[0] > 0.95


def test_a_hierarchy_keeps_only_clusters_of_enough_rows() -> None:
    """Two groups of three and a straggler: two clusters below the root, the straggler in none."""
    merges = np.array(
        [
            [0, 1, 1.0, 2],
            [2, 7, 1.5, 3],
            [3, 4, 2.0, 2],
            [5, 9, 2.5, 3],
            [8, 10, 10.0, 6],
            [6, 11, 50.0, 7],
        ]
    )

    tree = condense(merges, 3)

    assert tree.parent.tolist() == [0, 0, 0]
    assert tree.birth.tolist() == [np.inf, 10.0, 10.0]
    assert tree.cluster[6] == 0
    assert len(set(tree.cluster[:3])) == len(set(tree.cluster[3:6])) == 1
    assert tree.cluster[0] != tree.cluster[3]
    assert sorted(tree.least.tolist()) == [1.5, 1.5, 2.5]
