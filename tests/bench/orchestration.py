"""`just bench orchestration`: what Dagster costs an asset of the retraining job, as shipped and under its default executor.

Cost is a run's wall time less the time in asset bodies, by its own events; and how long the code location takes to import.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.data import batches, features, landing
from pipelines.definitions import build_defs
from pipelines.flight_delay.model import MODEL
from pipelines.objects import Objects
from pipelines.tables import Tables
from stacks.local import stack
from stacks.local.ports import free_base
from stacks.outputs import ENV, StackOutputs

JOB = "train_and_release"
RUNS = 3
IMPORTS = 5


def shipped() -> dg.JobDefinition:
    """The retraining job as the code location has it."""
    return build_defs().resolve_job_def(JOB)


def multiprocess() -> dg.JobDefinition:
    """The same graph under Dagster's default executor: a process a step."""
    return build_defs(executor=dg.multiprocess_executor).resolve_job_def(JOB)


def main() -> int:
    """Bring the store up, build three months, run the job both ways in turn, print a table and one JSON line."""
    with tempfile.TemporaryDirectory(prefix="spotforge-bench-") as folder:
        home = Path(folder) / "home"
        try:
            outputs = stack.up(home, port_base=free_base(), parts=("seaweedfs", "mlflow"))
            os.environ[ENV] = str(home / "outputs.json")
            _fill(outputs)
            costs: dict[str, list[float]] = {"in process, as shipped": [], "multiprocess, dagster's default": []}
            with dg.DagsterInstance.local_temp(folder) as instance:
                # Trains, builds the image and makes Dagster's storage: what is measured finds them.
                _run(dg.reconstructable(shipped), instance)
                for _ in range(RUNS):
                    for name, job in zip(costs, (dg.reconstructable(shipped), dg.reconstructable(multiprocess)), strict=True):
                        costs[name].append(_run(job, instance))
        finally:
            stack.down(home)
    _tell(costs, [_import_s() for _ in range(IMPORTS)])
    return 0


def _fill(outputs: StackOutputs) -> None:
    data, tables = Objects(outputs.object_store, outputs.object_store.buckets.data), Tables(outputs)
    for partition in MODEL.partitions[: MODEL.min_partitions]:
        delivery = landing.deliver(data, partition, MODEL.deliver(partition))
        batches.validate(MODEL, data, tables, delivery)
        features.build(MODEL, tables, partition)


def _run(job: Any, instance: dg.DagsterInstance) -> float:
    """Seconds an asset beside its body, of one run."""
    began = time.perf_counter()
    result = dg.execute_job(job, instance)
    wall = time.perf_counter() - began
    if not result.success:
        raise RuntimeError(f"{JOB} failed")
    bodies = _bodies([entry for entry in instance.all_logs(result.run_id) if entry.dagster_event])
    return (wall - sum(bodies.values())) / len(bodies)


def _bodies(entries: list[dg.EventLogEntry]) -> dict[str, float]:
    """Seconds in each asset's own code: from its inputs being loaded to its first output."""
    began: dict[str, float] = {}
    took: dict[str, float] = {}
    for entry in entries:
        event, step = entry.get_dagster_event(), entry.step_key
        if step is None:
            continue
        if event.event_type_value in {"STEP_START", "LOADED_INPUT"}:
            began[step] = entry.timestamp
        elif event.event_type_value == "STEP_OUTPUT" and step not in took:
            took[step] = entry.timestamp - began[step]
    return took


def _import_s() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import pipelines.definitions"], check=True)
    return time.perf_counter() - began


def _tell(costs: dict[str, list[float]], imports: list[float]) -> None:
    rows = {name: [round(1000 * value) for value in values] for name, values in costs.items()}
    lines = ["| executor | ms an asset beside its body: median | min | max |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {statistics.median(values):.0f} | {min(values)} | {max(values)} |" for name, values in rows.items()]
    median = statistics.median(imports)
    lines += ["", f"Import of the code location, a new process: {median:.2f} s in the median of {len(imports)}."]
    result = {"ms_an_asset": rows, "import_s": [round(value, 3) for value in imports]}
    sys.stdout.write("\n".join([*lines, "", json.dumps(result)]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
