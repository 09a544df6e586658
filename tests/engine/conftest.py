"""What the engine tier shares: one control plane a session, with the charts' CRDs, and the backends over it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.fixtures import having
from tests.tools import build

if TYPE_CHECKING:
    from tests.engine.control_plane import ControlPlane
    from tests.engine.kubernetes import Kubernetes


@pytest.fixture(scope="session")
def pulumi_cli() -> Path:
    return having(lambda: build.path("pulumi"))


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ControlPlane]":
    """A real API server that knows every kind our charts bring."""
    from tests.engine import control_plane, crds

    with contextlib.ExitStack() as stack:
        wanted = having(crds.definitions)
        started = having(lambda: stack.enter_context(control_plane.start(tmp_path_factory.mktemp("control-plane"))))
        crds.apply(started.api, wanted)
        yield started


@pytest.fixture
def kubernetes(control_plane: "ControlPlane") -> "Kubernetes":
    """The provider's backend over it; what was there before the test is not counted as left."""
    from tests.engine.kubernetes import Kubernetes

    return Kubernetes(control_plane.api)
