"""The pictures of the demo's report, as PNG bytes. Each takes plain values and draws; none reads the platform."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

SIZE = (9.0, 3.4)
SERVES = {"production": 100, "retired": 0, "rolled_back": 0, "rejected": 0}


def served_loss(rows: Sequence[Mapping[str, Any]], *, name: str) -> bytes:
    """Mean loss of what was served, a month and release. `rows`: month, release, loss, rows."""
    figure, axes = _axes()
    months = sorted({row["month"] for row in rows})
    for release in sorted({row["release"] for row in rows}):
        mine = {row["month"]: row["loss"] for row in rows if row["release"] == release}
        axes.plot([months.index(month) for month in mine], list(mine.values()), marker="o", label=release)
    axes.set_xticks(range(len(months)), months)
    axes.set_ylabel(f"mean {name}")
    axes.set_title("Loss of what was served, by release, once the outcomes were known", loc="left")
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def traffic(records: Sequence[tuple[datetime, str, str, int | None]]) -> bytes:
    """Percent of callers a release over the run's real time. `records`: when, release, stage, canary weight."""
    figure, axes = _axes()
    began = records[0][0]
    end = (records[-1][0] - began).total_seconds() + 5
    for release in dict.fromkeys(record[1] for record in records):
        times, weights = [0.0], [0.0]
        share = 0.0
        serving: str | None = None
        for when, other, stage, weight in records:
            at = (when - began).total_seconds()
            if other == release:
                share = float(weight or 0) if stage == "canary" else float(SERVES.get(stage, share))
            elif stage == "canary" and serving == release:
                share = 100.0 - float(weight or 0)
            elif stage == "production" and serving == release:
                share = 0.0
            elif stage == "rolled_back" and serving == release:
                share = 100.0
            if stage == "production":
                serving = other
            times.append(at)
            weights.append(share)
        axes.step([*times, end], [*weights, share], where="post", label=release)
    axes.set_xlabel("seconds since the first release")
    axes.set_ylabel("% of callers")
    axes.set_title("Who answered the callers", loc="left")
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def training(events: Sequence[Mapping[str, Any]]) -> bytes:
    """The training's segments and the reclaim between them. `events` as the `trained_model` record holds them."""
    figure, axes = _axes(height=2.2)
    at, placement = 0.0, 0
    for event in events:
        if event["kind"] == "started":
            placement += 1
        elif event["kind"] == "committed":
            axes.barh(0, event["seconds"], left=at, color=f"C{placement - 1}", edgecolor="white")
            axes.text(
                at + event["seconds"] / 2, 0, str(event["segment"] + 1), ha="center", va="center", color="white", fontsize=8
            )
            at += event["seconds"]
        elif event["kind"] == "preempted":
            axes.axvline(at, color="crimson", linewidth=2)
            axes.text(at, 0.55, " SIGKILL: node reclaimed", color="crimson", fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(-0.6, 0.9)
    axes.set_xlabel("seconds of committed work, by segment; a colour a placement")
    axes.set_title("Training through a reclaim", loc="left")
    return _png(figure)


def _axes(height: float = SIZE[1]) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(SIZE[0], height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()
