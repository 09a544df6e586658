"""The demo's view of Dagster, against a small server that answers GraphQL as told. The real one is the whole demo's test."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cli.demo.watch import Dagster, Run
from stacks.errors import UserError
from stacks.local.ports import HOST, free_port
from tests.cli.shell import environment


@dataclass
class Server:
    """What it answers next, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b"{}"
    asked: list[dict[str, Any]] = field(default_factory=list)

    def says(self, **data: Any) -> None:
        self.body = json.dumps({"data": data}).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(told.status)
            self.send_header("content-length", str(len(told.body)))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as listening:
        told.url = f"http://{HOST}:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield told
        listening.shutdown()
        thread.join()


def _row(**more: Any) -> dict[str, Any]:
    row = {"runId": "a1", "jobName": "process_month", "status": "SUCCESS", "startTime": 1.0, "endTime": 2.5}
    return row | {"tags": [{"key": "spotforge/delivery", "value": "2013-01/1"}]} | more


def test_what_is_asked_for_is_in_dagsters_own_schema() -> None:
    """In a process of its own: Dagster warns of itself when it is imported."""
    code = "from dagster_graphql.schema import create_schema; from graphql import parse, validate; from cli.demo import watch\n"
    code += "schema = create_schema().graphql_schema\n"
    code += "print([str(e) for q in (watch._RUNS, watch._LAUNCH, watch._FAILURE) for e in validate(schema, parse(q))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == "[]\n"


def test_runs_are_read_with_their_tags(server: Server) -> None:
    server.says(runsOrError={"results": [_row(), _row(runId="a2", status="STARTED", endTime=None)]})
    done, running = Dagster(server.url).runs("process_month")
    assert done == Run("a1", "process_month", "SUCCESS", {"spotforge/delivery": "2013-01/1"}, 1.0, 2.5)
    assert done.done
    assert not running.done
    assert server.asked[0]["variables"] == {"job": "process_month", "limit": 50}


def test_a_launch_asks_for_the_job_with_its_configuration(server: Server) -> None:
    server.says(launchRun={"__typename": "LaunchRunSuccess", "run": {"runId": "b7"}})
    assert Dagster(server.url).launch("train_and_release", {"ops": {"training_set": {}}}) == "b7"
    params = server.asked[0]["variables"]["params"]
    assert params["selector"]["pipelineName"] == "train_and_release"
    assert json.loads(params["runConfigData"]) == {"ops": {"training_set": {}}}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"__typename": "PythonError", "message": "no such op"}, "no such op"),
        ({"__typename": "RunConfigValidationInvalid", "errors": [{"message": "month: not a string"}]}, "month: not a string"),
        ({"__typename": "PipelineNotFoundError"}, "PipelineNotFoundError"),
    ],
)
def test_a_refused_launch_is_said_with_the_reason(server: Server, answer: dict[str, Any], reason: str) -> None:
    server.says(launchRun=answer)
    with pytest.raises(UserError, match=rf"Dagster refused to start train: .*{reason}.*See the Dagster UI"):
        Dagster(server.url).launch("train", {})


def test_nobody_there_is_said_with_the_address() -> None:
    url = f"http://{HOST}:{free_port()}"
    with pytest.raises(UserError, match=rf"Dagster at {url} does not answer \(.*refused.*See `spotforge status`"):
        Dagster(url).runs()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"boom", r"does not answer \(HTTP Error 500"),
        (200, b"<html>another server</html>", r"is not Dagster"),
        (200, b'{"errors": [{"message": "Cannot query field"}]}', r"Dagster: Cannot query field\. See `spotforge logs"),
        (200, b'{"data": {"runsOrError": {"message": "the database is locked"}}}', r"Dagster: the database is locked"),
    ],
    ids=["an error", "not Dagster", "a wrong question", "an error as an answer"],
)
@pytest.mark.filterwarnings("error::ResourceWarning")
def test_an_answer_that_is_none_is_one_line(server: Server, status: int, body: bytes, said: str) -> None:
    server.status, server.body = status, body
    with pytest.raises(UserError, match=said):
        Dagster(server.url).runs()


def test_why_a_run_failed_is_the_root_of_the_chain_in_one_line(server: Server) -> None:
    chain = [{"error": {"message": "while loading"}}, {"error": {"message": "ValueError:\n  month 13\n"}}]
    error = {"message": "Error occurred while executing op", "cause": None, "errorChain": chain}
    failed = {"__typename": "ExecutionStepFailureEvent", "stepKey": "training_set", "error": error}
    server.says(logsForRun={"events": [{"__typename": "RunStartEvent"}, failed]})
    assert Dagster(server.url).why_failed("a1") == "training_set: ValueError: month 13"


@pytest.mark.parametrize("answer", [{"events": []}, {}], ids=["no failure", "no such run"])
def test_a_run_without_a_failed_step_points_to_its_log(server: Server, answer: dict[str, Any]) -> None:
    server.says(logsForRun=answer)
    assert "see the run's log" in Dagster(server.url).why_failed("a1")
