"""Dagster's storage is made once and whole, however many of its processes start at once and wherever one is killed."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.local_dagster import SENSOR_LOOP_S, STORAGE, make_storage

MAKE = "import sys; from pathlib import Path; from pipelines.local_dagster import make_storage; make_storage(Path(sys.argv[1]))"
DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    yield tmp_path


def _start(home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", MAKE, str(home)], stderr=subprocess.PIPE)


def _heads(home: Path) -> list[int]:
    """How many schema versions each database says it has; more than one, and Dagster refuses to open it."""
    found = []
    for name in DATABASES:
        with closing(sqlite3.connect(home / name)) as database:
            found.append(database.execute("select count(*) from alembic_version").fetchone()[0])
    return found


def test_six_processes_at_once_leave_one_whole_storage(home: Path) -> None:
    processes = [_start(home) for _ in range(6)]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert _heads(home) == [1, 1, 1]


def test_what_a_killed_process_left_half_made_is_made_anew(home: Path) -> None:
    first = _start(home)
    while not list(home.glob("storage.new/**/*.db")):
        assert first.poll() is None, "it ended before it could be killed"
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not any((home / name).exists() for name in STORAGE), "half a storage is not put in place"
    make_storage(home)
    assert _heads(home) == [1, 1, 1]
    assert not (home / "storage.new").exists()


def test_a_storage_that_stands_is_left_alone(home: Path) -> None:
    make_storage(home)
    before = {name: (home / name).stat().st_mtime_ns for name in DATABASES}
    make_storage(home)
    assert {name: (home / name).stat().st_mtime_ns for name in DATABASES} == before


def test_the_sensor_loop_is_faster_than_dagsters_own() -> None:
    from dagster._daemon import sensor

    assert sensor.MIN_INTERVAL_LOOP_TIME > SENSOR_LOOP_S, "dagster looks as often by itself now: the setting may go"
