"""What the demo sees of the platform, and the little it asks of it: runs through Dagster's GraphQL, as the UI does."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from stacks.errors import UserError
from stacks.local.configuration import LOCATION

_RUNS = """query($job: String, $limit: Int) { runsOrError(filter: {pipelineName: $job}, limit: $limit) { ... on Runs { results {
  runId jobName status creationTime startTime endTime tags { key value } } } ... on Error { message } } }"""
_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
_FAILURE = """query($id: ID!) { logsForRun(runId: $id, limit: 2000) { ... on EventConnection { events { __typename
  ... on ExecutionStepFailureEvent { stepKey error { message cause { message } errorChain { error { message } } } } } } } }"""


@dataclass(frozen=True)
class Run:
    """One Dagster run. Times in seconds since the epoch."""

    id: str
    job: str
    status: str
    tags: dict[str, str]
    started: float | None
    ended: float | None

    @property
    def done(self) -> bool:
        return self.status in {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True)
class Dagster:
    """The web server's GraphQL at `url`."""

    url: str

    def runs(self, job: str | None = None, limit: int = 50) -> list[Run]:
        """The newest runs first."""
        found = self._ask(_RUNS, {"job": job, "limit": limit})["runsOrError"]
        if "results" not in found:
            raise UserError(f"Dagster: {found['message'][:300]}", "See `spotforge logs dagster-webserver`.")
        return [
            Run(
                row["runId"],
                row["jobName"],
                row["status"],
                {tag["key"]: tag["value"] for tag in row["tags"]},
                row["startTime"],
                row["endTime"],
            )
            for row in found["results"]
        ]

    def launch(self, job: str, config: dict[str, Any]) -> str:
        """Start a job with a run configuration, as the launchpad does; returns the run's id."""
        selector = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "pipelineName": job}
        params = {"selector": selector, "runConfigData": json.dumps(config), "mode": "default"}
        answer = self._ask(_LAUNCH, {"params": params})["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise UserError(f"Dagster refused to start {job}: {json.dumps(answer)[:300]}", "See the Dagster UI.")
        return str(answer["run"]["runId"])

    def why_failed(self, run_id: str) -> str:
        """The first step failure of a run in one line."""
        for event in self._ask(_FAILURE, {"id": run_id})["logsForRun"].get("events", []):
            if event["__typename"] == "ExecutionStepFailureEvent" and event.get("error"):
                chain = [entry["error"]["message"] for entry in event["error"].get("errorChain") or []]
                message = (chain or [event["error"]["message"]])[-1]
                return f"{event['stepKey']}: {' '.join(message.split())[:300]}"
        return "no step failed; see the run's log in the Dagster UI"

    def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the stack's own loopback address
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                body = json.loads(answer.read())
        except OSError as error:
            raise UserError(f"Dagster at {self.url} does not answer ({error})", "See `spotforge status`.") from error
        except ValueError as error:
            raise UserError(f"what answers at {self.url} is not Dagster", "See `spotforge status`.") from error
        if body.get("errors"):
            raise UserError(f"Dagster: {body['errors'][0]['message'][:300]}", "See `spotforge logs dagster-webserver`.")
        data: dict[str, Any] = body["data"]
        return data
