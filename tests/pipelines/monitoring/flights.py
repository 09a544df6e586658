"""Real flights of 2013 as the room's tests use them: a month's features, and a small model that can be fitted in a second."""

from functools import cache
from typing import Any

import numpy as np
import polars as pl

from pipelines.flight_delay.model import MODEL
from pipelines.model import encode


@cache
def features(month: str) -> pl.DataFrame:
    """Every flight of the month: id, event_time, label (null where it never arrived), and the model's inputs."""
    return MODEL.build_features(MODEL.deliver(month))


def split(months: tuple[str, ...], *days: int) -> pl.DataFrame:
    """Flights of those days out of every four, moved together so that none is missing: one world, no day in two parts."""
    day = pl.col("event_time").dt.epoch("d")
    rows = pl.concat([features(month) for month in months]).filter((day % 4).is_in(list(days)))
    gaps = day - day.min() - (day.rank("dense").cast(pl.Int32) - 1)
    return rows.with_columns(event_time=pl.col("event_time") - gaps * pl.duration(days=1))


def fitted(rows: pl.DataFrame) -> Any:
    """A booster of thirty small trees."""
    import xgboost

    known = rows.drop_nulls("label")
    params = {"objective": "binary:logistic", "max_depth": 4, "learning_rate": 0.2, "nthread": 1, "verbosity": 0}
    return xgboost.train(params, xgboost.DMatrix(encode(MODEL.features, known), known["label"].to_numpy()), 30)


def served(booster: Any, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows as answered requests: as `inputs.served` reads them."""
    import xgboost

    prediction = booster.predict(xgboost.DMatrix(encode(MODEL.features, rows)))
    return rows.rename({"flight_id": "request_id"}).with_columns(prediction=pl.Series(prediction.astype(np.float64)))
