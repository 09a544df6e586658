"""Whether a tier's tools are there: on a laptop their absence skips, with the reason; in CI it fails, for there it is a hole.

The fixtures themselves are conftest.py's.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.tools import build

T = TypeVar("T")


def having(get: Callable[[], T]) -> T:
    """What `get` gives; where a tool is missing, skip or (where CI is set, as every CI system does) fail, naming it."""
    try:
        return get()
    except build.Missing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must run the engine tier: {error}", pytrace=False)
        pytest.skip(str(error))
