"""The training process: from the newest checkpoint to the last segment, committing at each boundary.

Run by a launcher as `python -m pipelines.training.worker --outputs FILE --work ID --epoch N`. It may be killed at any moment.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from pipelines.training.checkpoints import Checkpoint, Checkpoints, Fenced

PREEMPTED = 75
"""Exit code of a worker that was asked to leave (EX_TEMPFAIL): never 0, and told apart from a failure."""
FENCED = 76
"""Exit code of a worker whose work has gone to a newer placement: neither a success nor a failure of the training."""
FAILED = 1
STORE_PATIENCE_S = 60
"""How long a finished segment waits for a store that is away, before it is lost with the worker."""


class Preempted(Exception):
    """The node is going away; the segment under way has been committed."""


def main() -> int:
    """Parse the command line, train, and leave the reason of the end in the exit file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outputs", type=Path, required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--epoch", type=int, required=True)
    parser.add_argument("--exit-file", type=Path, required=True)
    arguments = parser.parse_args()
    # OpenMP threads that spin while they wait make training ten times slower on a small node; read when XGBoost loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    leaving = threading.Event()
    # Only a flag: an exception raised while XGBoost calls back into Python tears its memory. The segment is finished and
    # committed if the notice lasts; if not, the kill that follows costs that segment and nothing else.
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    code, reason = FAILED, ""
    try:
        train(arguments.outputs, arguments.work, arguments.epoch, leaving)
        code = 0
    except Preempted:
        code, reason = PREEMPTED, "asked to leave (SIGTERM)"
    except Fenced as error:
        code, reason = FENCED, str(error)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        arguments.exit_file.write_text(json.dumps({"code": code, "reason": reason}))
    return code


def train(outputs_file: Path, work: str, epoch: int, leaving: threading.Event) -> None:
    """Train a work to its end. Raises Fenced when a newer epoch has taken over, Preempted once `leaving` is set."""
    from pipelines.model import load_model
    from pipelines.objects import Objects
    from pipelines.tables import Tables
    from pipelines.training import dataset
    from stacks.outputs import StackOutputs

    outputs = StackOutputs.load(outputs_file)
    objects = Objects(outputs.object_store, outputs.object_store.buckets.artifacts)
    checkpoints = Checkpoints(objects, work)
    spec = checkpoints.spec()
    model = load_model(outputs.model)
    data = dataset.matrices(model, Tables(outputs), dataset.load(objects, spec["training_set"]))
    last = checkpoints.latest()
    state = last.state if last else None
    for segment in range(last.segment + 1 if last else 0, model.trainer.segments):
        if leaving.is_set():
            raise Preempted
        began = time.monotonic()
        seed = seed_of(int(spec["seed"]), segment)
        state, metrics = model.trainer.fit_segment(state, data, segment=segment, seed=seed, params=spec["params"])
        _commit(checkpoints, Checkpoint(segment, state, metrics, epoch), time.monotonic() - began, leaving)
        print(f"segment {segment + 1}/{model.trainer.segments} committed {metrics}", flush=True)  # noqa: T201 - the worker's log


def seed_of(run: int, segment: int) -> int:
    """A seed of its own for each segment, whoever trains it and after however many kills."""
    return run * 1000 + segment


def _commit(checkpoints: Checkpoints, finished: Checkpoint, seconds: float, leaving: threading.Event) -> None:
    """Commit, and try again while the store is away; a node that goes away does not wait."""
    import tenacity

    from stacks.errors import UserError

    again = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UserError),
        wait=tenacity.wait_exponential(multiplier=0.2, max=5),
        stop=tenacity.stop_any(tenacity.stop_after_delay(STORE_PATIENCE_S), tenacity.stop_when_event_set(leaving)),
        sleep=tenacity.sleep_using_event(leaving),
        reraise=True,
    )
    again(checkpoints.commit, finished, seconds=seconds)


if __name__ == "__main__":
    sys.exit(main())
