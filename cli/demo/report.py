"""The demo's report: one self-contained HTML file with what was seen, the numbers and the pictures."""

import base64
from pathlib import Path
from typing import Any

from cli.demo import plots
from cli.demo.scene import Scene
from pipelines.data.labels import TABLE as LABELS

TEMPLATE = Path(__file__).with_name("report.html.j2")


def write(scene: Scene, path: Path) -> Path:
    """Write the report whole or not at all; returns its absolute path."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text())
    body = template.render(
        months=scene.month_rows,
        records=[record.model_dump() for record in scene.ledger.records()],
        beats=scene.beats,
        tally=scene.world.tally,
        latency=_latency(scene.world.tally.latencies_ms),
        pictures=_pictures(scene),
        card=(scene.record("model_package") or {}).get("card", ""),
        outputs=scene.outputs,
    )
    target = path.absolute()
    fresh = target.with_suffix(".new")
    fresh.write_text(body)
    fresh.replace(target)
    return target


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
    # A handful of answers on the first or last night of a month, in another time zone, is no month.
    return grouped.filter(pl.col("rows") >= 50).sort("month", "release").to_dicts()  # noqa: PLR2004


def _pictures(scene: Scene) -> list[tuple[str, str]]:
    records = [(record.when, record.release, str(record.to), record.weight) for record in scene.ledger.records()]
    drawn = [("Loss", plots.served_loss(served(scene), name="Brier loss")), ("Traffic", plots.traffic(records))]
    drawn.append(("Training", plots.training(_reclaimed(scene))))
    return [(name, base64.b64encode(png).decode()) for name, png in drawn]


def _reclaimed(scene: Scene) -> list[dict[str, Any]]:
    """The events of the training that was reclaimed, told in act 4; a later training has none."""
    events: list[dict[str, Any]] = scene.reclaimed_training
    return events


def _latency(values: list[float]) -> dict[str, float]:
    import numpy as np

    return {f"p{percent}": float(np.percentile(values, percent)) for percent in (50, 99)} if values else {}
