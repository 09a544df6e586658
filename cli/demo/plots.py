"""The pictures of the demo's report, as PNG bytes. Each takes plain values and draws; none reads the platform."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 9.0
DPI = 160
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c564b", "#5d5d81", "#b5b500", "#d55e00", "#7fbf7b")
"""Okabe and Ito's, which a colour-blind reader can tell apart; its yellow and black are replaced, as too pale and too loud."""
ALARM = "#b3261e"
PLACEMENTS = ("#0072b2", "#7a4b8c")
"""Dark enough for white numbers."""
MARKER_AREA = (25.0, 160.0)
"""Points squared, for the release with the fewest and with the most answers of a month."""
NARROW = 0.03
"""A segment of less than this share of the whole has no room for its number."""


def colours(releases: Iterable[str]) -> dict[str, str]:
    """One colour a release, the same in every picture."""
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(dict.fromkeys(releases))}


def served_loss(rows: Sequence[Mapping[str, Any]], paint: Mapping[str, str]) -> bytes:
    """Mean loss of what was served, a month and release. `rows`, at least one: month, release, loss, rows."""
    figure, axes = _axes(3.6)
    months = sorted({row["month"] for row in rows})
    most = max(row["rows"] for row in rows)
    for release in sorted({row["release"] for row in rows}):
        mine = sorted((row["month"], row["loss"], row["rows"]) for row in rows if row["release"] == release)
        at = [months.index(month) for month, _, _ in mine]
        losses = [loss for _, loss, _ in mine]
        axes.plot(at, losses, color=paint[release], linewidth=1.6, marker="o", markersize=4, label=_short(release), zorder=2)
        area = [max(MARKER_AREA[0], MARKER_AREA[1] * count / most) for _, _, count in mine]
        axes.scatter(at, losses, s=area, color=paint[release], edgecolors="white", zorder=3)
    axes.set_xticks(range(len(months)), months)
    axes.set_xlim(-0.4, len(months) - 0.6)
    axes.margins(y=0.15)
    axes.set_ylabel("mean loss")
    axes.grid(axis="y", color="#e6e9ef", zorder=0)
    _legend(figure)
    return _png(figure)


def traffic(shares: Sequence[tuple[float, Mapping[str, int]]], paint: Mapping[str, str], rolled_back: Sequence[float]) -> bytes:
    """Percent of callers a release over the run's real time.

    `shares`, at least one: seconds since the first record, and who answers from then on; `rolled_back`: when one was taken out.
    """
    figure, axes = _axes(2.9)
    times = [at for at, _ in shares]
    # The last state lasts: without a tail it would have no width.
    times.append(times[-1] + max(1.0, 0.03 * times[-1]))
    floor = [0.0] * len(times)
    for release in dict.fromkeys(name for _, share in shares for name in share):
        heights = [float(share.get(release, 0)) for _, share in shares]
        roof = [low + height for low, height in zip(floor, [*heights, heights[-1]], strict=True)]
        axes.fill_between(times, floor, roof, step="post", color=paint[release], linewidth=0, label=_short(release))
        floor = roof
    for number, at in enumerate(rolled_back):
        axes.axvline(at, color=ALARM, linewidth=1.6, linestyle=(0, (3, 2)), label="rolled back" if number == 0 else None)
    axes.set_xlim(times[0], times[-1])
    axes.set_ylim(0, 100)
    axes.set_xlabel("seconds since the first release was made")
    axes.set_ylabel("% of callers")
    _legend(figure)
    return _png(figure)


def training(events: Sequence[Mapping[str, Any]]) -> bytes:
    """The training's segments and the reclaims between them. `events` as the `trained_model` record holds them."""
    figure, axes = _axes(1.9)
    whole = sum(event["seconds"] for event in events if event["kind"] == "committed") or 1.0
    at, placement = 0.0, 0
    for event in events:
        if event["kind"] == "started":
            placement += 1
        elif event["kind"] == "committed":
            axes.barh(0, event["seconds"], left=at, color=PLACEMENTS[(placement - 1) % 2], edgecolor="white", linewidth=0.8)
            if event["seconds"] > NARROW * whole:
                middle = at + event["seconds"] / 2
                axes.text(middle, 0, str(event["segment"] + 1), ha="center", va="center", color="white", fontsize=9)
            at += event["seconds"]
        elif event["kind"] == "preempted":
            axes.axvline(at, color=ALARM, linewidth=2)
            late = at > whole / 2
            words = "SIGKILL: the node is reclaimed"
            axes.text(at, 0.62, f"{words}  " if late else f"  {words}", ha="right" if late else "left", color=ALARM, fontsize=9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, whole)
    axes.set_ylim(-0.5, 1.0)
    axes.set_xlabel("seconds of committed work")
    return _png(figure)


def _short(release: str) -> str:
    """`r0003` of `r0003-1a2b3c4d`: the number tells releases apart, and the ledger's table has the whole id."""
    return release.partition("-")[0]


def _axes(height: float) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, colors="#414a5c")
    return figure, axes


def _legend(figure: Any) -> None:
    # Beside the picture: inside it covers what it explains as soon as there are some releases.
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)


def _png(figure: Any) -> bytes:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    plt.close(figure)
    return buffer.getvalue()
