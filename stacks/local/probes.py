"""Whether a part works: HTTP, GraphQL and S3 calls that answer True or False and never raise for a part that is not there yet.

What each part must answer is `parts`.
"""

import json
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stacks.outputs import StackOutputs

FRESH_S = 15.0
"""The controller writes its status each tick; an older one is a dead controller's."""
LOCATION = "{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{__typename}}}}}"
DAEMONS = "{instance{daemonHealth{allDaemonStatuses{required healthy}}}}"


def listens(url: str) -> bool:
    """Whether anything accepts a connection: a thousand times cheaper than a client library that finds nobody there."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1):
            return True
    except OSError:
        return False


def http(url: str) -> bool:
    """Whether a GET answers 200."""
    try:
        with _direct().open(url, timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own number
    except (OSError, ValueError):
        return False


def location_loaded(url: str) -> bool:
    """Whether Dagster's web server has loaded the code location."""
    return _dagster(
        url,
        LOCATION,
        lambda data: bool(
            data["workspaceOrError"]["locationEntries"][0]["locationOrLoadError"]["__typename"] == "RepositoryLocation"
        ),
    )


def daemons_healthy(url: str) -> bool:
    """Whether every daemon that Dagster requires has sent its heartbeat."""
    return _dagster(
        url,
        DAEMONS,
        lambda data: all(s["healthy"] for s in data["instance"]["daemonHealth"]["allDaemonStatuses"] if s["required"]),
    )


def fresh(path: Path) -> bool:
    """Whether a heartbeat file was written a moment ago."""
    try:
        return time.time() - path.stat().st_mtime < FRESH_S
    except FileNotFoundError:
        return False


def buckets(outputs: StackOutputs) -> bool:
    """Make the buckets where they are missing; True once all are there. The ledger's bucket takes Object Lock."""
    if not listens(outputs.object_store.endpoint or ""):
        return False
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from stacks.credentials import read

    key, secret = read(outputs.object_store)
    settings = Config(
        connect_timeout=1, read_timeout=3, retries={"max_attempts": 1}, s3={"addressing_style": "path"}, proxies={}
    )
    client = boto3.client(
        "s3",
        endpoint_url=outputs.object_store.endpoint,
        region_name=outputs.object_store.region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=settings,
    )
    wanted = outputs.object_store.buckets
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in {wanted.artifacts, wanted.data, wanted.ledger, wanted.logs} - there:
            client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=name == wanted.ledger)
    except (BotoCoreError, ClientError):
        return False
    return True


def _dagster(url: str, query: str, good: Callable[[Any], bool]) -> bool:
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{url}/graphql", data=json.dumps({"query": query}).encode(), headers={"content-type": "application/json"}
    )
    try:
        with _direct().open(request, timeout=5) as answer:
            return good(json.loads(answer.read())["data"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def _direct() -> urllib.request.OpenerDirector:
    # Loopback is never reached through the caller's proxy.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
