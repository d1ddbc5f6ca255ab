"""The catalogue, and everything that is generated from it."""

import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from observability import catalogue
from observability.__main__ import GENERATED
from observability.alerts import ALERTS
from observability.catalogue import CATALOGUE
from observability.dashboard import ROWS, dashboard
from observability.metric import Kind, Metric, NoMetrics
from observability.ray_series import RAY_SERIES

_ROOT = Path(__file__).parents[2]
_PANELS = [panel for _title, panels in ROWS for panel in panels]
_KNOWN = {f"ray_{metric.series}": metric for metric in (*CATALOGUE, *RAY_SERIES)}
_KNOWN |= {f"ray_{m.name}_bucket": m for m in CATALOGUE if m.kind is Kind.HISTOGRAM}


def _used(query: str) -> set[str]:
    return {_KNOWN[name].name for name in re.findall(r"ray_(?:millwright|serve)_\w+", query)}


def test_every_declared_metric_is_in_the_catalogue() -> None:
    """A constant that was forgotten in the tuple would be in no dashboard and no document."""
    declared = {value for value in vars(catalogue).values() if isinstance(value, Metric)}

    assert declared == set(CATALOGUE)
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_a_metric_is_well_formed(metric: Metric) -> None:
    """Names follow Prometheus; only histograms have buckets, in ascending order."""
    assert re.fullmatch(r"millwright_[a-z_]+", metric.name)
    assert not metric.name.endswith("_total"), "Ray adds it by itself"
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.help
    assert "machine" not in metric.labels, "what grows with the fleet lives in Postgres"


def test_a_wrong_label_is_refused_even_where_nobody_watches() -> None:
    """Tests run with the sink: there a mistake must be as loud as in production."""
    sink = NoMetrics()

    sink.add(catalogue.QUARANTINED, reason="not_json")
    with pytest.raises(ValueError, match="reason"):
        sink.add(catalogue.QUARANTINED)
    with pytest.raises(ValueError, match="group"):
        sink.set(catalogue.LAG, 1, machine="m-1")
    with pytest.raises(ValueError, match="shrink"):
        sink.add(catalogue.STORED, -1)


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_files_are_fresh(name: str) -> None:
    """`python -m observability` writes them."""
    assert (_ROOT / name).read_text() == GENERATED[name]()


def test_the_dashboard_shows_the_whole_catalogue() -> None:
    """Every query reads metrics that exist, and every metric is shown somewhere."""
    shown: set[str] = set()
    for panel in _PANELS:
        read = set().union(*(_used(query) for _legend, query in panel.queries))
        assert read == {metric.name for metric in panel.metrics}, panel.title
        shown |= read

    assert shown == {metric.name for metric in (*CATALOGUE, *RAY_SERIES)}


@pytest.mark.parametrize("metric", RAY_SERIES, ids=lambda metric: metric.name)
def test_what_ray_itself_exports_is_known_to_the_installed_ray(metric: Metric) -> None:
    """A panel over a series that another release calls otherwise would stay empty in silence."""
    found = find_spec("ray")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "serve" / "_private"
    assert any(f'"{metric.name}"' in one.read_text() for one in folder.glob("*.py"))


def test_queries_suit_the_kind_of_their_metric() -> None:
    """Counters are rated before they are summed, and their labels are declared."""
    for panel in _PANELS:
        for legend, query in panel.queries:
            for name in re.findall(r"ray_(?:millwright|serve)_\w+", query):
                metric = _KNOWN[name]
                assert ("rate(" in query) == (metric.kind is not Kind.GAUGE), query
                labels = re.findall(r"{{(\w+)}}", legend)
                assert set(labels) <= set(metric.labels), (legend, metric.name)


def test_panels_do_not_overlap() -> None:
    """Grafana would move them, and the picture would not be the one that was committed."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(json.dumps(dashboard()))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_alerts_watch_metrics_that_exist_and_say_what_to_do() -> None:
    """An alert on a renamed metric would be silent for ever."""
    for alert in ALERTS:
        assert _used(alert.expression) == {alert.metric.name}
        assert alert.action


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_accepts_configuration_and_rules() -> None:
    """Checked by Prometheus' own tool."""
    folder = _ROOT / "deploy" / "prometheus"
    for words in (["config", "--syntax-only", "prometheus.yml"], ["rules", "rules.yml"]):
        done = subprocess.run(
            ["promtool", "check", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
