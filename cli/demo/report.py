"""The demo's report: one self-contained HTML file with what was seen and the numbers. How pictures are drawn is `plots`."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.demo import plots
from cli.demo.scene import Scene
from pipelines.data.labels import TABLE as LABELS
from pipelines.release.chain import Record, serving_at
from pipelines.release.record import Stage

TEMPLATE = Path(__file__).with_name("report.html.j2")
MIN_ANSWERS = 50
"""A handful of answers on the first or last night of a month, in another time zone, is no month."""


@dataclass(frozen=True)
class Picture:
    """A picture with the sentence that says how to read it; without `png`, with the one that says why there is none."""

    title: str
    says: str
    png: bytes | None

    @property
    def encoded(self) -> str:
        return base64.b64encode(self.png or b"").decode()


def write(scene: Scene, path: Path) -> Path:
    """Write the report whole or not at all; returns its absolute path."""
    records = scene.ledger.records()
    body = render(
        months=scene.month_rows,
        records=records,
        beats=scene.beats,
        sent=scene.world.tally.sent,
        failed=scene.world.tally.failed,
        latency=latency(scene.world.tally.latencies_ms),
        pictures=pictures(records, served(scene), scene.reclaimed_training),
        card=(scene.record("model_package") or {}).get("card", ""),
        links={
            "Dagster": scene.outputs.orchestration.url,
            "MLflow": scene.outputs.tracking.uri,
            "gateway": scene.outputs.gateway.url,
        },
    )
    target = path.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.new")
    fresh.write_text(body, encoding="utf-8")
    fresh.replace(target)
    return target


def render(**values: Any) -> str:
    """The page. Every value is shown as text, whatever it holds; one that the template asks for and is not given raises."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(values)


def served(scene: Scene) -> list[dict[str, Any]]:
    """Mean loss a month and release of the live answers whose outcome is known: month, release, loss, rows."""
    import polars as pl

    predictions, labels = scene.tables.scan("predictions"), scene.tables.scan(LABELS)
    if predictions is None or labels is None:
        return []
    joined = (
        predictions.filter(pl.col("arm") == "live")
        .select("request_id", "release", "event_time", "prediction")
        .join(labels.select("request_id", "label").unique(subset="request_id"), on="request_id")
        .collect()
    )
    loss = scene.model.loss(joined["label"].to_numpy(), joined["prediction"].to_numpy())
    month = pl.col("event_time").dt.strftime("%Y-%m").alias("month")
    grouped = (
        joined.with_columns(pl.Series("loss", loss), month)
        .group_by("month", "release")
        .agg(pl.col("loss").mean(), rows=pl.len())
    )
    return grouped.filter(pl.col("rows") >= MIN_ANSWERS).sort("month", "release").to_dicts()


def pictures(
    records: Sequence[Record], losses: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> list[Picture]:
    """What can be drawn of these; what cannot is said."""
    paint = plots.colours([*(record.release for record in records), *(row["release"] for row in losses)])
    committed = any(event["kind"] == "committed" for event in events)
    shares = answering(records)
    out = [(record.when - records[0].when).total_seconds() for record in records if record.to is Stage.ROLLED_BACK]
    return [
        Picture(
            "Loss of what was served",
            "Mean loss a month, once the outcomes were known; lower is better, a larger dot means more answers."
            if losses
            else "No outcome of an answer is known yet.",
            plots.served_loss(losses, paint) if losses else None,
        ),
        Picture(
            "Who answered the callers",
            "The steps are canaries; a red line is a release that was taken out."
            if shares
            else "No release has answered callers yet.",
            plots.traffic(shares, paint, out) if shares else None,
        ),
        Picture(
            "Training through a reclaim",
            "Each block is a committed segment with its number; another colour is another placement, and none was done twice."
            if committed
            else "No training was reclaimed.",
            plots.training(events) if committed else None,
        ),
    ]


def answering(records: Sequence[Record]) -> list[tuple[float, Mapping[str, int]]]:
    """Who answers callers, and from when on (seconds since the first record); from the first release in production on."""
    moments = [
        ((record.when - records[0].when).total_seconds(), serving_at(records[: index + 1], record.when))
        for index, record in enumerate(records)
    ]
    return [moment for moment in moments if moment[1]]


def latency(milliseconds: Sequence[float]) -> dict[str, float]:
    import numpy as np

    return {f"p{percent}": float(np.percentile(milliseconds, percent)) for percent in (50, 99)} if milliseconds else {}
