"""Callers get errors: what the gateway, the servers and the ledger say, read over a window, and what follows from it.

`read` asks the parts, `judge` decides; nothing here changes anything.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from runbooks.model import Diagnosis, Finding, Verdict
from runbooks.serving_errors.alert import ERROR_SHARE
from stacks.errors import UserError
from stacks.outputs import StackOutputs

# With fewer answers than this, one stray error is already over the threshold.
MIN_REQUESTS = 20
WINDOW_S = 5.0
SERVER = "serving-"
"""Model servers are programs named after their release."""
CONTROLLER = "release-controller"


@dataclass(frozen=True)
class Counts:
    """Answers in the window, and how many of them were errors (5xx, resets, timeouts)."""

    requests: int = 0
    errors: int = 0

    @property
    def share(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def bad(self) -> bool:
        return self.share > ERROR_SHARE

    def __str__(self) -> str:
        return f"{self.errors} errors in {self.requests} answers ({self.share:.1%})"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read. None where it could not be; `silent` says why, a line a part."""

    callers: Counts | None
    """All that callers got from the gateway."""
    releases: Mapping[str, Counts] | None
    """The part of it that each release answered."""
    programs: Mapping[str, str] | None
    """State of every supervised program, in supervisord's words."""
    ledger: tuple[str | None, str | None] | None
    """The release in production, and the one in canary."""
    silent: tuple[str, ...] = ()
    window_s: float = WINDOW_S


def diagnose(outputs: StackOutputs, window_s: float = WINDOW_S) -> Diagnosis:
    """Watch for `window_s` seconds, then say what is wrong. Reads only."""
    return judge(read(outputs, window_s))


def judge(reading: Reading) -> Diagnosis:
    """What follows from a reading. Pure."""
    findings = tuple(_findings(reading))
    if reading.callers is None:
        return Diagnosis(
            verdict=Verdict.CANNOT_TELL,
            findings=findings,
            cause="gateway-unreachable",
            next_step="See `spotforge status`; `spotforge up` starts what is down. In a cluster: the gateway's pods.",
        )
    for cause in (_no_release, _server_down, _erring):
        found = cause(reading)
        if found:
            name, subject, next_step = found
            return Diagnosis(verdict=Verdict.CONFIRMED, findings=findings, cause=name, subject=subject, next_step=next_step)
    if reading.silent or None in (reading.releases, reading.programs, reading.ledger):
        return Diagnosis(
            verdict=Verdict.CANNOT_TELL,
            findings=findings,
            next_step="Make readable what is not (`spotforge status`), then run this again.",
        )
    if reading.callers.requests < MIN_REQUESTS:
        return Diagnosis(
            verdict=Verdict.CANNOT_TELL,
            findings=findings,
            next_step=f"Fewer than {MIN_REQUESTS} answers are too few to judge by: run this again with a longer --window.",
        )
    return Diagnosis(verdict=Verdict.HEALTHY, findings=findings, next_step="Nothing to do. If it pages again, read Prevent.")


Cause = tuple[str, str | None, str]


def _no_release(reading: Reading) -> Cause | None:
    if reading.ledger is None or reading.ledger[0] is not None:
        return None
    return "no-release", None, "No release ever reached production: `spotforge release list` says how far one came."


def _server_down(reading: Reading) -> Cause | None:
    """A program that serves callers does not run: the server of the release in production, or of the one in canary."""
    for release in reading.ledger or ():
        program = f"{SERVER}{release}"
        if release and reading.programs is not None and reading.programs.get(program) != "RUNNING":
            return "server-down", program, f"If it does not stay up: `spotforge logs {program}`."
    return None


def _erring(reading: Reading) -> Cause | None:
    """Enough answers, too many of them errors: whose?"""
    callers = reading.callers
    if callers is None or callers.requests < MIN_REQUESTS or not callers.bad or reading.ledger is None:
        return None
    production, canary = reading.ledger
    shares = reading.releases or {}
    if canary and shares.get(canary, Counts()).bad and not shares.get(production or "", Counts()).bad:
        return "canary-errors", canary, "Then find out why with the rejected release's own evidence: `spotforge release show`."
    if shares.get(production or "", Counts()).bad:
        return "release-errors", production, f"What fails is in its log: `spotforge logs {SERVER}{production}`."
    return "not-routed", CONTROLLER, "The gateway itself answers: no route leads to the release in production."


def _findings(reading: Reading) -> list[Finding]:
    said = [Finding(line, None) for line in reading.silent]
    if reading.callers is not None:
        few = reading.callers.requests < MIN_REQUESTS
        said.append(Finding(f"callers: {reading.callers} in {reading.window_s:g} s", None if few else reading.callers.bad))
    if reading.ledger is not None:
        production, canary = reading.ledger
        said.append(
            Finding(f"ledger: in production {production or 'nothing'}, in canary {canary or 'nothing'}", not production)
        )
    said += [Finding(f"{release}: {counts}", counts.bad) for release, counts in sorted((reading.releases or {}).items())]
    for program, state in sorted((reading.programs or {}).items()):
        if program.startswith(SERVER) or program in {"envoy", CONTROLLER}:
            said.append(Finding(f"{program}: {state}", state != "RUNNING"))
    return said


def read(outputs: StackOutputs, window_s: float) -> Reading:
    """Ask every part of the local stack, twice the counters. Raises UserError for a stack that this cannot read yet."""
    from stacks.local.supervisor import Supervisor

    if outputs.state_dir is None:
        raise UserError(f"stack {outputs.stack!r} is not a local one", "In a cluster, follow the page's steps by hand.")
    silent: list[str] = []
    before = _counters(outputs, silent)
    if before is not None:
        time.sleep(window_s)
    after = _counters(outputs, silent) if before is not None else None
    try:
        programs = {name: state.state for name, state in Supervisor(outputs.state_dir).states().items()}
    except UserError as error:
        silent.append(f"supervisor: {error.what}")
        programs = None
    callers, releases = _between(before, after)
    return Reading(
        callers=callers,
        releases=releases,
        programs=programs,
        ledger=_ledger(outputs, silent),
        silent=tuple(dict.fromkeys(silent)),
        window_s=window_s,
    )


Counters = tuple[Counts, Mapping[str, Counts]]


def _counters(outputs: StackOutputs, silent: list[str]) -> Counters | None:
    """The gateway's cumulative counters: all callers, and a release each."""
    from pipelines.release.gateway_envoy import EnvoyGateway
    from pipelines.release.record import ServingConfig

    try:
        traffic = EnvoyGateway(outputs).observe(ServingConfig().slo_ms)
        releases = {release: Counts(arm.requests, arm.errors) for release, arm in traffic.live.items()}
        return _callers(outputs.gateway.admin_url), releases
    except UserError as error:
        silent.append(f"gateway: {error.what}")
        return None


def _callers(admin_url: str) -> Counts:
    """What all callers got, from the counters that the alert's rule is made of."""
    import json
    import urllib.request

    url = f"{admin_url}/stats?format=json&filter=^http.gateway.downstream_rq_(completed|5xx)$"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the admin address from the outputs
            found = {item["name"].rsplit("_", 1)[-1]: item["value"] for item in json.load(answer)["stats"]}
    except (OSError, ValueError) as error:
        raise UserError(f"the gateway's admin address {admin_url} does not answer ({error})", "Run `spotforge up`.") from error
    return Counts(found.get("completed", 0), found.get("5xx", 0))


def _between(before: Counters | None, after: Counters | None) -> tuple[Counts | None, Mapping[str, Counts] | None]:
    """What was counted in the window. Counters that fell belong to a gateway that was started anew: then all of them count."""
    if before is None or after is None:
        return None, None

    def less(new: Counts, old: Counts) -> Counts:
        return new if new.requests < old.requests else Counts(new.requests - old.requests, new.errors - old.errors)

    return less(after[0], before[0]), {name: less(new, before[1].get(name, Counts())) for name, new in after[1].items()}


def _ledger(outputs: StackOutputs, silent: list[str]) -> tuple[str | None, str | None] | None:
    from pipelines.release.ledger import Ledger
    from pipelines.release.record import Stage

    try:
        state = Ledger.of(outputs).replay()
    except UserError as error:
        silent.append(f"ledger: {error.what}")
        return None
    canary = next((name for name, standing in state.standings.items() if standing.stage is Stage.CANARY), None)
    return state.production, canary
