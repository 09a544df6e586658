"""What the command is pointed at: the folder of the test's own stack, and its ledger."""

from pathlib import Path

import pytest

from pipelines.release.ledger import Ledger
from stacks.outputs import StackOutputs


@pytest.fixture
def home(outputs: StackOutputs) -> Path:
    assert outputs.state_dir is not None
    return outputs.state_dir


@pytest.fixture
def ledger(outputs: StackOutputs) -> Ledger:
    return Ledger.of(outputs)
