"""A year as the demo may see it, invented: ledger records, months, losses, a reclaimed training, beats."""

from datetime import UTC, datetime, timedelta
from typing import Any

from cli.demo.scene import Beat
from pipelines.release.chain import Record
from pipelines.release.record import Stage

START = datetime(2026, 2, 3, 9, 30, tzinfo=UTC)
IDS = ("r0001-5f0c2a91", "r0002-b81d44e7", "r0003-0e9932c5", "r0004-77aa10fd", "r0005-c3d2e1b0")
BAD = IDS[3]
"""Caught in its first canary."""
_Move = tuple[float, str, Stage, int | None, str | None, str]
_CANARY = (
    (Stage.CANDIDATE, None, "inputs moved and the loss rose: retrain with the newest months"),
    (Stage.STAGING, None, "next in line"),
    (Stage.SHADOW, None, "its server answers as its package does"),
    (Stage.CANARY, 5, "answered 1,204 mirrored requests, none failed; p99 6.2 ms"),
    (Stage.CANARY, 25, "no harm after 212 requests and 6 event hours"),
    (Stage.CANARY, 50, "no harm after 580 requests and 12 event hours"),
    (Stage.PRODUCTION, None, "mean paired loss difference -0.011 in 1,400 pairs"),
)


def _way(release: str, at: float, steps: int = len(_CANARY), pace: float = 6.0) -> list[_Move]:
    return [(at + pace * number, release, to, weight, None, why) for number, (to, weight, why) in enumerate(_CANARY[:steps])]


def records() -> list[Record]:
    """Five releases: a baseline, three models that go live, one of them rolled back by an operator, and a bad one."""
    caught = "loss on live labels is worse by 0.034 (evidence of harm 23.1, at most 20)"
    moves: list[_Move] = [
        (0.0, IDS[0], Stage.CANDIDATE, None, None, "baseline: there is no model yet"),
        (1.2, IDS[0], Stage.STAGING, None, None, "next in line"),
        (3.4, IDS[0], Stage.PRODUCTION, None, None, "the first release: nobody to be compared with"),
        *_way(IDS[1], 41.0),
        *_way(IDS[2], 128.0),
        *_way(BAD, 201.0, steps=4),
        (226.0, BAD, Stage.ROLLED_BACK, None, None, caught),
        *_way(IDS[4], 250.0),
        (301.0, IDS[4], Stage.ROLLED_BACK, None, IDS[2], "complaints from JFK"),
    ]
    found: list[Record] = []
    stages: dict[str, Stage] = {}
    for seq, (at, release, to, weight, restores, why) in enumerate(moves):
        who = "dagster" if to is Stage.CANDIDATE else "release controller"
        found.append(
            Record(
                seq=seq,
                prev="0" * 64,
                when=START + timedelta(seconds=at),
                who=who,
                why=why,
                release=release,
                from_=stages.get(release),
                to=to,
                weight=weight,
                restores=restores,
            )
        )
        stages[release] = to
    return found


def months() -> list[dict[str, Any]]:
    causes = [
        "concept_drift",
        "data_drift",
        "data_drift",
        "data_drift_with_loss",
        "data_quality",
        "healthy",
        "not_enough_labels",
    ]
    actions = ["retrain", "none", "none", "retrain", "none", "none", "none"]
    serving = [IDS[1], IDS[1], IDS[1], IDS[2], IDS[2], IDS[2], IDS[2]]
    return [
        {"month": f"2013-{4 + at:02}", "requests": 3021 + 977 * (at % 4), "failed": 0, "cause": cause, "action": action}
        | {"production": production}
        for at, (cause, action, production) in enumerate(zip(causes, actions, serving, strict=True))
    ]


def losses() -> list[dict[str, Any]]:
    """Month, release, loss, rows."""
    told = [(4, 0, 0.172, 2900), (4, 1, 0.161, 11020), (5, 1, 0.158, 3020), (6, 1, 0.171, 2980), (7, 1, 0.182, 3110)]
    told += [(7, 2, 0.164, 9800), (8, 2, 0.157, 3090), (9, 2, 0.139, 3000), (10, 2, 0.141, 6020), (10, 3, 0.186, 410)]
    return [{"month": f"2013-{m:02}", "release": IDS[r], "loss": loss, "rows": rows} for m, r, loss, rows in told]


def events(segments: int = 12, killed_after: int = 3) -> list[dict[str, Any]]:
    """A training that is reclaimed once."""
    found: list[dict[str, Any]] = [{"kind": "started", "epoch": 0, "capacity": "spot"}]
    for segment in range(segments):
        if segment == killed_after:
            found += [{"kind": "preempted", "reason": "killed by SIGKILL"}, {"kind": "started", "epoch": 1, "capacity": "spot"}]
        found.append({"kind": "committed", "segment": segment, "seconds": 1.1 + 0.1 * (segment % 3), "loss": 0.2})
    return found


def beats() -> list[Beat]:
    return [
        Beat(13.2, 1, "stack", "every part has answered its probe after 13.2 s"),
        Beat(24.9, 2, "data contract", "[yellow]2013-02 held back[/]: 412 of 24,951 rows of flights break the contract"),
        Beat(58.0, 4, "spot market", "[yellow]the node is reclaimed[/]: SIGKILL to pid 4711"),
        Beat(96.4, 6, "release controller", f"[bold]{IDS[1]}[/] → [bold]canary 5 %[/]: {_CANARY[3][2]}"),
    ]
