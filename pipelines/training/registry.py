"""MLflow: one run a training, one registered version a package. Idempotent, because steps are retried."""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.serving.package import Package

WORK_TAG = "spotforge.work"
PACKAGE_TAG = "spotforge.package"


@dataclass(frozen=True)
class Registered:
    """Where a model stands in the registry."""

    name: str
    version: str
    run_id: str


def register(
    uri: str,
    *,
    name: str,
    work: str,
    package: Package,
    prefix: str,
    params: Mapping[str, Any],
    segments: Iterable[Mapping[str, Any]],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> Registered:
    """Log the training and register its package once. A second call with the same work and package finds the first."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    found = client.search_runs([experiment_id], f"tags.`{WORK_TAG}` = '{work}'", max_results=1)
    run = found[0] if found else client.create_run(experiment_id, run_name=work, tags={WORK_TAG: work, **tags})
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}' and tag.`{PACKAGE_TAG}` = '{package.digest}'")
    mine = next((one for one in versions if one.run_id == run.info.run_id), None)
    if mine is None:
        _log(client, run.info.run_id, params, segments, metrics)
        _log_model(client, run.info.run_id, package)
        source = f"{run.info.artifact_uri}/model"
        mine = client.create_model_version(
            name,
            source,
            run.info.run_id,
            tags={PACKAGE_TAG: package.digest, "spotforge.prefix": prefix},
            description=package.card,
        )
    if run.info.status == "RUNNING":
        client.set_terminated(run.info.run_id)
    client.set_registered_model_alias(name, "candidate", mine.version)
    return Registered(name, str(mine.version), run.info.run_id)


def _log(
    client: Any, run_id: str, params: Mapping[str, Any], segments: Iterable[Mapping[str, Any]], metrics: Mapping[str, float]
) -> None:
    import time

    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    logged = [Metric(key, value, now, 0) for key, value in metrics.items() if value == value]  # noqa: PLR0124 - NaN is not equal to itself
    for marker in segments:
        logged += [Metric(key, value, now, marker["segment"]) for key, value in marker["metrics"].items()]
        logged.append(Metric("segment_seconds", marker["seconds"], now, marker["segment"]))
    client.log_batch(run_id, metrics=logged, params=[Param(key, str(value)) for key, value in params.items()])


def _log_model(client: Any, run_id: str, package: Package) -> None:
    import mlflow.onnx
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        # Named requirements: inferring them imports the world and takes five seconds.
        mlflow.onnx.save_model(onnx.load_from_string(package.onnx), str(path), pip_requirements=["onnxruntime", "numpy"])
        (path / "card.md").write_text(package.card)
        (path / "signature.json").write_text(package.signature.to_json())
        client.log_artifacts(run_id, str(path), "model")
