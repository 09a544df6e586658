"""The controller's loop in a simulated world: every path of a release, and a kill at every call it makes."""

import json
from pathlib import Path

import pytest

from pipelines.release.ledger import Ledger
from pipelines.release.record import Stage
from pipelines.release.rollback import reject, roll_back
from stacks.errors import UserError
from tests.pipelines.release.simulated import Behaviour, World, drive

R1, R2, R3 = "r0001-aaaaaaaa", "r0002-bbbbbbbb", "r0003-cccccccc"


def path_of(world: World, release: str) -> list[str]:
    return [
        f"{move.to}{f' {move.weight}' if move.weight else ''}"
        for move in Ledger(world.store).records()
        if move.release == release
    ]


def ends(world: World, release: str, stage: Stage) -> bool:
    return Ledger(world.store).state(release) is stage


def started(tmp_path: Path, **behaviour: Behaviour) -> World:
    """A world in which the first release serves."""
    world = World(tmp_path, {R1: Behaviour(), R2: Behaviour(), R3: Behaviour()} | {r[:5]: b for r, b in behaviour.items()})
    world.behaviour = {R1: Behaviour(), R2: behaviour.get("r2", Behaviour()), R3: behaviour.get("r3", Behaviour())}
    world.candidate(R1)
    drive(world, lambda: world.routes.weights == {R1: 100})
    return world


def test_the_first_release_goes_straight_to_production_and_says_why(tmp_path: Path) -> None:
    world = started(tmp_path)
    assert path_of(world, R1) == ["candidate", "staging", "production"]
    assert "nobody to compare with" in Ledger(world.store).records()[-1].why


def test_a_healthy_release_passes_every_stage_with_evidence_and_the_old_one_stays_warm(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    drive(world, lambda: world.routes.weights == {R2: 100})
    assert path_of(world, R2) == ["candidate", "staging", "shadow", "canary 5", "canary 25", "canary 50", "production"]
    assert world.servers == {R1, R2}, "the rollback target keeps its servers"
    records = Ledger(world.store).records()
    last = records[-1]
    assert last.evidence["evidence_of_safety"] >= last.evidence["safe_at"]
    assert all(record.evidence.get("champion") == R1 for record in records if record.to is Stage.SHADOW)
    assert world.lost == []
    assert world.broken_rules == []


def test_a_release_that_is_worse_on_labels_is_rolled_back_and_forgotten(tmp_path: Path) -> None:
    world = started(tmp_path, r2=Behaviour(shift=0.25))
    world.candidate(R2)
    drive(world, lambda: ends(world, R2, Stage.ROLLED_BACK) and world.servers == {R1})
    assert world.routes.weights == {R1: 100}
    assert world.routes.mirror is None
    last = Ledger(world.store).records()[-1]
    assert "loss +0.0" in last.why
    assert last.evidence["loss"]["evidence_of_harm"] >= last.evidence["harm_at"]
    assert world.lost == []
    assert world.broken_rules == []


def test_a_release_that_fails_callers_is_rolled_back_at_five_percent(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.behaviour[R2].failing = 0.0
    world.candidate(R2)
    drive(world, lambda: ends(world, R2, Stage.CANARY))
    world.behaviour[R2].failing = 0.8
    drive(world, lambda: ends(world, R2, Stage.ROLLED_BACK))
    assert "failed answers" in Ledger(world.store).records()[-1].why
    assert path_of(world, R2)[-2:] == ["canary 5", "rolled_back"]


@pytest.mark.parametrize(
    ("behaviour", "why"), [(Behaviour(starts=False), "does not start"), (Behaviour(smoke_fails=True), "answers differ")]
)
def test_a_release_that_cannot_start_or_answers_wrongly_never_meets_a_caller(
    tmp_path: Path, behaviour: Behaviour, why: str
) -> None:
    world = started(tmp_path, r2=behaviour)
    world.candidate(R2)
    drive(world, lambda: ends(world, R2, Stage.REJECTED) and world.servers == {R1})
    assert why in Ledger(world.store).records()[-1].why
    assert world.answered[R2] == 0


def test_one_release_at_a_time_and_the_next_has_its_turn(tmp_path: Path) -> None:
    world = started(tmp_path, r2=Behaviour(starts=False))
    world.candidate(R2)
    world.candidate(R3)
    controller = drive(world, lambda: ends(world, R2, Stage.STAGING))
    assert controller.status["waiting"] == [R3]
    assert path_of(world, R3) == ["candidate"]
    drive(world, lambda: ends(world, R3, Stage.PRODUCTION))


def test_without_callers_it_holds_and_says_what_is_missing(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    controller = world.controller()
    for _ in range(20):
        controller.tick()
    assert controller.status["stage"] is Stage.SHADOW
    assert controller.status["reason"] == "not enough traffic: 0 of 60 shadow answers, 0 of 60 pairs in the prediction log"


def test_an_operators_rollback_puts_the_old_release_back_and_takes_the_challenger_out(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    drive(world, lambda: world.routes.weights == {R2: 100})
    world.candidate(R3)
    drive(world, lambda: ends(world, R3, Stage.SHADOW))
    roll_back(Ledger(world.store), to=R1, who="op", why="complaints")
    drive(world, lambda: world.routes.weights == {R1: 100} and world.servers == {R1})
    assert ends(world, R2, Stage.ROLLED_BACK)
    assert ends(world, R3, Stage.REJECTED), "it was being compared with what was taken out"
    assert f"compared with {R2}" in Ledger(world.store).records()[-1].why
    assert world.lost == []


def test_an_operators_rollback_in_a_canary_ends_the_canary(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    drive(world, lambda: ends(world, R2, Stage.CANARY))
    assert roll_back(Ledger(world.store), to=None, who="op", why="no").release == R2
    drive(world, lambda: world.routes.weights == {R1: 100} and world.servers == {R1})
    with pytest.raises(UserError, match="only release that ever served"):
        roll_back(Ledger(world.store), to=None, who="op", why="again")


def test_a_waiting_release_can_be_rejected(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    reject(Ledger(world.store), R2, who="op", why="wrong months")
    drive(world, lambda: ends(world, R2, Stage.REJECTED))


def test_with_the_store_away_a_failing_canary_is_taken_from_the_callers_and_recorded_later(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    controller = drive(world, lambda: world.routes.weights.get(R2) == 5)
    object.__setattr__(world.store, "away", True)
    world.behaviour[R2].failing = 1.0
    for _ in range(40):
        world.traffic()
        with_record = False
        try:
            controller.tick()
        except UserError:
            with_record = True
        if world.routes.weights == {R1: 100}:
            break
    assert with_record, "the record could not be written"
    assert world.routes.weights == {R1: 100}, "but no caller meets it any more"
    object.__setattr__(world.store, "away", False)
    controller.tick()
    assert ends(world, R2, Stage.ROLLED_BACK)


def test_with_the_store_away_nothing_advances_and_the_problem_is_told(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    controller = drive(world, lambda: world.routes.weights.get(R2) == 5)
    object.__setattr__(world.store, "away", True)
    for _ in range(20):
        world.traffic()
        controller.tick()
    assert world.routes.weights == {R1: 95, R2: 5}, "the last routes stay"
    assert controller.status["problems"] == ["object store cannot be reached. Wait."]


def test_with_the_gateway_away_nothing_advances_and_it_goes_on_when_it_is_back(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    drive(world, lambda: world.routes.weights.get(R2) == 5)
    world.gateway_away = True
    with pytest.raises(AssertionError, match="never came to that"):
        drive(world, lambda: ends(world, R2, Stage.PRODUCTION), ticks=30)
    world.gateway_away = False
    drive(world, lambda: ends(world, R2, Stage.PRODUCTION))


def test_a_dead_controller_that_had_seen_harm_retreats_before_it_routes(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    drive(world, lambda: world.routes.weights.get(R2) == 5)
    world.behaviour[R2].failing = 1.0
    world.traffic()
    controller = world.controller()
    while True:
        controller.tick()
        if controller.status["next"]:
            break
        world.traffic()
    before = len(world.broken_rules)
    # A new process on the same world, with the record undone: it knows of the harm from its file alone.
    del world.store.content[f"ledger/{len(Ledger(world.store).records()) - 1:08d}.json"]
    again = world.controller()
    again.tick()
    assert again.status["next"] is Stage.ROLLED_BACK
    assert len(world.broken_rules) == before


@pytest.mark.parametrize("shift", [0.0, 0.3], ids=["promoted", "rolled back"])
def test_killed_at_any_call_the_next_controller_goes_on(tmp_path: Path, shift: float) -> None:
    """Every call that the controller makes to the outside, before and after it acts, is its last one once."""

    def scenario(folder: Path, kill_at: int | None) -> World:
        world = World(folder, {R1: Behaviour(), R2: Behaviour(shift=shift)}, kill_at=kill_at)
        folder.mkdir()
        world.candidate(R1)
        drive(world, lambda: world.routes.weights == {R1: 100})
        world.candidate(R2)
        end = Stage.PRODUCTION if shift == 0.0 else Stage.ROLLED_BACK
        left = {R2: 100} if shift == 0.0 else {R1: 100}
        servers = {R1, R2} if shift == 0.0 else {R1}
        drive(world, lambda: ends(world, R2, end) and world.routes.weights == left and world.servers == servers)
        return world

    whole = scenario(tmp_path / "whole", None)
    wanted = path_of(whole, R2)
    # What comes before the canary is the same in both.
    first = 0 if shift == 0.0 else min(at for (_, _, routes), at in whole.moments.items() if (R2, 5) in routes)
    moments = [at for at in whole.moments.values() if at >= first]
    assert len(moments) > 10
    for kill_at in moments:
        world = scenario(tmp_path / str(kill_at), kill_at)
        assert world.broken_rules == [], f"killed at call {kill_at}"
        assert world.lost == [], f"killed at call {kill_at}"
        taken = path_of(world, R2)
        assert [taken[0], taken[-1]] == [wanted[0], wanted[-1]], f"killed at call {kill_at}"
        assert len(taken) == len(set(taken)), f"killed at call {kill_at}: a step was taken twice: {taken}"


def test_the_status_can_be_written_as_json(tmp_path: Path) -> None:
    world = started(tmp_path)
    world.candidate(R2)
    controller = drive(world, lambda: world.routes.weights.get(R2) == 25)
    status = json.loads(json.dumps(controller.status, default=str))
    assert (status["stage"], status["weight"], status["production"]) == ("canary", 25, R1)
