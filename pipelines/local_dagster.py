"""Dagster's web server and daemon as the local stack runs them: `python -m pipelines.local_dagster webserver|daemon …`.

Beside `orchestration` and the rooms' `defs`, the only module that imports dagster; no asset knows it.
"""

import os
import shutil
import sys
from pathlib import Path

# Dagster looks at its sensors every 5 s whatever their minimum interval, and has no setting for it. The loop has seven sensors
# in a row for each month; at 5 s each they would take most of the demo's five minutes.
SENSOR_LOOP_S = 1
STORAGE = ("history", "schedules")
"""Folders with Dagster's databases, in its home."""


def make_storage(home: Path) -> None:
    """Have Dagster's databases whole under `home`, whoever else asks for it now and wherever an earlier try was killed.

    Dagster itself makes them at first use, and two processes that do so at once leave both unable to start.
    """
    from dagster import DagsterInstance
    from filelock import FileLock

    with FileLock(home / "storage.lock"):
        if all((home / name).is_dir() for name in STORAGE):
            return
        fresh = home / "storage.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        shutil.copy(home / "dagster.yaml", fresh)
        with DagsterInstance.from_config(str(fresh)) as instance:
            # Each is opened, and so made, when first asked for.
            instance.get_runs_count()
            instance.all_asset_keys()
            instance.all_instigator_state()
        for name in STORAGE:
            if not (home / name).is_dir():
                (fresh / name).rename(home / name)
        shutil.rmtree(fresh)


def main() -> None:
    """Make the storage, then become the part that is named; the rest of the command line is Dagster's own."""
    part = sys.argv.pop(1)
    make_storage(Path(os.environ["DAGSTER_HOME"]))
    if part == "daemon":
        from dagster._daemon import cli, sensor

        sensor.MIN_INTERVAL_LOOP_TIME = SENSOR_LOOP_S
        cli.main()
    else:
        from dagster_webserver import cli as webserver

        # The library has no types for it.
        webserver.main()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
