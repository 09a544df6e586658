"""The operator's way back: one ledger record. The controller acts on it within a tick, on code and model together."""

from pipelines.release.chain import IllegalTransition, Record
from pipelines.release.ledger import Ledger
from pipelines.release.record import Stage
from stacks.errors import UserError


def roll_back(ledger: Ledger, *, to: str | None, who: str, why: str) -> Record:
    """Take the newest release out that callers reach: a canary; else production, for the one before.

    With `to`, production goes to that release, which must have served before. Raises UserError when there is nothing to do.
    """
    state = ledger.replay()
    flying = state.in_flight
    if to is None and flying is not None and state.standings[flying].stage is Stage.CANARY:
        return ledger.append(flying, Stage.ROLLED_BACK, who=who, why=why, from_=Stage.CANARY)
    if state.production is None:
        raise UserError("nothing is in production", "See `spotforge release list`.")
    if to == state.production:
        raise UserError(f"{to} serves already", "See `spotforge release list`.")
    restores = to or state.previous
    if restores is None:
        raise IllegalTransition(f"{state.production} is the only release that ever served: there is nothing to put back")
    return ledger.append(state.production, Stage.ROLLED_BACK, who=who, why=why, from_=Stage.PRODUCTION, restores=restores)


def reject(ledger: Ledger, release: str, *, who: str, why: str) -> Record:
    """End a release that no caller reaches yet: a candidate, or one in staging or shadow. Raises UserError."""
    stage = ledger.state(release)
    if stage is Stage.CANARY:
        raise UserError(f"{release} answers callers", "Use `spotforge release rollback`.")
    return ledger.append(release, Stage.REJECTED, who=who, why=why, from_=stage)
