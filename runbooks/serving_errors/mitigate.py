"""Callers get errors: what can be done about each cause, as steps that say what they do and how they are taken back."""

from runbooks.model import Diagnosis, Step
from stacks.errors import UserError
from stacks.outputs import StackOutputs


def plan(outputs: StackOutputs, diagnosis: Diagnosis) -> tuple[Step, ...]:
    """The steps for a diagnosis; none where only a person can go on. Runs nothing."""
    subject = diagnosis.subject
    if subject is None:
        return ()
    if diagnosis.cause in {"server-down", "not-routed"}:
        return (_restart(outputs, subject),)
    if diagnosis.cause in {"canary-errors", "release-errors"}:
        return (_roll_back(outputs, subject, canary=diagnosis.cause == "canary-errors"),)
    return ()


def _restart(outputs: StackOutputs, program: str) -> Step:
    def run() -> str:
        from stacks.local.supervisor import Supervisor

        if outputs.state_dir is None:
            raise UserError(f"stack {outputs.stack!r} is not a local one", "Restart the Deployment.")
        supervisor = Supervisor(outputs.state_dir)
        if program not in supervisor.states():
            return f"{program} is not known to the supervisor; the release controller starts it if it should run"
        supervisor.restart(program)
        return f"{program} is {supervisor.states()[program].state}"

    return Step(f"restart {program}", "nothing to take back: what serves stays the same", run)


def _roll_back(outputs: StackOutputs, release: str, *, canary: bool) -> Step:
    """The operator's rollback is a record; the release controller acts on it within a tick, on code and model together."""

    def run() -> str:
        from pipelines.release.ledger import Ledger
        from pipelines.release.record import Stage

        ledger = Ledger.of(outputs)
        restores = None if canary else ledger.previous_production()
        if not canary and restores is None:
            raise UserError(f"{release} is the only release that ever served", "Repair it, or release another.")
        record = ledger.append(
            release,
            Stage.ROLLED_BACK,
            who="runbook serving-errors",
            why="callers got errors",
            from_=Stage.CANARY if canary else Stage.PRODUCTION,
            restores=restores,
        )
        back = f"{restores} serves again" if restores else "the release in production takes all callers again"
        return f"ledger record {record.seq}: {release} is rolled back; {back} within a tick of the release controller"

    return Step(
        f"roll back {release}" + ("" if canary else " to the release before it"),
        "release it again: a new candidate passes the same gates",
        run,
    )
