"""Registering is done once, however often the step runs, and a step that was killed half-way is finished."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.training import registry
from tests.pipelines.serving.tiny import package

# MLflow warns of its own type hints while it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
MARKERS = [
    {"segment": 0, "seconds": 1.5, "metrics": {"valid_auc": 0.6}},
    {"segment": 1, "seconds": 1.0, "metrics": {"valid_auc": 0.7}},
]


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # The store behind the server, without the server: where the artifacts go by default is the working directory.
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/mlflow.db"


def _register(uri: str, **changes: Any) -> registry.Registered:
    given: dict[str, Any] = {
        "name": "tiny",
        "work": "tiny-1",
        "package": package(),
        "prefix": "packages/tiny/0",
        "params": {"depth": 3},
        "segments": MARKERS,
        "metrics": {"holdout_auc": 0.65},
        "tags": {"spotforge.preemptions": "1"},
    }
    return registry.register(uri, **{**given, **changes})


def test_a_training_is_registered_once_even_if_the_step_was_killed_half_way(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    with monkeypatch.context() as dying:
        dying.setattr(MlflowClient, "create_model_version", _die)
        with pytest.raises(KeyboardInterrupt):
            _register(uri)
    first, again = _register(uri), _register(uri)
    assert first == again
    client = MlflowClient(uri, uri)
    versions = client.search_model_versions("name = 'tiny'")
    assert len(versions) == 1
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.run_id for run in runs] == [first.run_id]
    assert runs[0].info.status == "FINISHED"
    assert runs[0].data.tags["spotforge.preemptions"] == "1"
    assert runs[0].data.metrics["holdout_auc"] == 0.65
    history = {(metric.step, metric.value) for metric in client.get_metric_history(first.run_id, "valid_auc")}
    assert history == {(0, 0.6), (1, 0.7)}, "a metric a segment"
    assert str(client.get_model_version_by_alias("tiny", "candidate").version) == first.version
    names = {file.path for file in client.list_artifacts(first.run_id, "model")}
    assert {"model/model.onnx", "model/card.md", "model/signature.json", "model/MLmodel"} <= names
    other = _register(uri, work="tiny-2", package=package(weights=(0.1, 0.2, 0.3)))
    assert (other.version, other.run_id != first.run_id) == ("2", True), "another training is another version"


def _die(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt
