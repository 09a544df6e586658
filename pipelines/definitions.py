"""The Dagster code location: merges the `defs.py` of each room, and nothing else."""

import importlib

import dagster as dg

from pipelines.orchestration import Platform, RecordIOManager

ROOMS = ("data", "training", "release", "monitoring")


def build_defs(*, executor: dg.ExecutorDefinition = dg.in_process_executor, **overrides: object) -> dg.Definitions:
    """Every room's definitions with the shared resources; `overrides` replaces resources by name (tests)."""
    platform = Platform()
    resources: dict[str, object] = {"platform": platform, "io_manager": RecordIOManager(platform=platform)} | overrides
    rooms = [importlib.import_module(f"pipelines.{room}.defs").build() for room in ROOMS]
    return dg.Definitions.merge(*rooms, dg.Definitions(resources=resources, executor=executor))


defs = build_defs()
