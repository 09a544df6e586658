"""What a flight looks like: the model's inputs with units, bounds and vocabularies, and the contract a delivery must meet.

Bounds are physical or operational limits, not percentiles of this year: a season must not look like a fault.
"""

from typing import TYPE_CHECKING, Any

from pipelines.model import Feature

if TYPE_CHECKING:
    import pandera.polars as pa
    import polars as pl

CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")
WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "visib", "pressure")
MINUTES = 60
LATE_MIN = 15.0
"""A flight is late that arrives 15 minutes after schedule or more, as the US Bureau of Transportation Statistics counts."""


def _number(name: str, unit: str, low: float, high: float, *, nullable: bool = False) -> Feature:
    return Feature(name=name, unit=unit, low=low, high=high, nullable=nullable)


FEATURES = (
    Feature(name="carrier", kind="categorical", categories=CARRIERS),
    Feature(name="origin", kind="categorical", categories=ORIGINS),
    _number("distance", "mi", 50, 6000),
    _number("hour", "h, local", 0, 24),
    _number("weekday", "1 = Monday", 1, 7),
    _number("planned_min", "min, schedule", 0, 1440),
    _number("seats", "1", 1, 500, nullable=True),
    _number("plane_age", "a", 0, 70, nullable=True),
    # Weather as observed in an hour that had ended before the scheduled departure.
    _number("temp", "°F", -40, 130),
    _number("dewp", "°F", -60, 100),
    _number("humid", "%", 0, 100),
    _number("wind_speed", "mph", 0, 120),
    _number("precip", "in", 0, 6),
    _number("visib", "mi", 0, 10),
    _number("pressure", "hPa", 900, 1100, nullable=True),
    # The state of the airport and the carrier: flights whose departure was known before this one's schedule.
    _number("origin_delay", "min, mean of known departures due in the last 3 h", -60, 1500, nullable=True),
    _number("carrier_delay", "min, mean of known departures due in the last 3 h", -60, 1500, nullable=True),
    _number("plane_delay", "min, arrival of the same aircraft, when already known", -120, 1500, nullable=True),
)


def contract(source: str) -> "pa.DataFrameSchema":
    """The pandera contract of one source's rows, every column that the features read; batch rules are the data room's."""
    import pandera.polars as pa
    import polars as pl

    def number(low: float, high: float, *, nullable: bool = False) -> "pa.Column":
        return pa.Column(pl.Float64, pa.Check.in_range(low, high), nullable=nullable)

    def bounded(name: str) -> "pa.Column":
        feature = next(feature for feature in FEATURES if feature.name == name)
        return pa.Column(pl.Float64, pa.Check.in_range(feature.low, feature.high), nullable=True)

    clock = pa.Column(pl.Int64, [pa.Check.in_range(0, 2359), pa.Check(_is_clock, name="a time of day as HHMM")])
    instant = pl.Datetime("us", "UTC")
    if source == "flights":
        return pa.DataFrameSchema(
            {
                "flight_id": pa.Column(pl.String),
                "sched_dep": pa.Column(instant),
                "arrived": pa.Column(instant, nullable=True),
                "month": pa.Column(pl.Int64, pa.Check.in_range(1, 12)),
                "carrier": pa.Column(pl.String, pa.Check.isin(list(CARRIERS))),
                "origin": pa.Column(pl.String, pa.Check.isin(list(ORIGINS))),
                "tailnum": pa.Column(pl.String, nullable=True),
                # 17 mi is the one EWR-LGA ferry flight of 2013; anything under 10 is a fault.
                "distance": number(10, 6000),
                "sched_dep_time": clock,
                "sched_arr_time": clock,
                "dep_delay": number(-60, 2880, nullable=True),
                "arr_delay": number(-120, 2880, nullable=True),
            },
            checks=pa.Check(_arrives_later, name="arrives after it left"),
        )
    if source == "weather":
        return pa.DataFrameSchema(
            {
                "origin": pa.Column(pl.String, pa.Check.isin(list(ORIGINS))),
                "observed": pa.Column(instant),
                # 2013-02-12 03:00 has 1,048 mph at EWR in the source: a real fault, quarantined by the bound.
                **{name: bounded(name) for name in WEATHER},
            }
        )
    return pa.DataFrameSchema(
        {"tailnum": pa.Column(pl.String), "built": number(1930, 2030, nullable=True), "seats": bounded("seats")}
    )


def _arrives_later(data: Any) -> "pl.LazyFrame":
    import polars as pl

    left = pl.col("sched_dep") + pl.col("dep_delay") * pl.duration(minutes=1)
    frame: pl.LazyFrame = data.lazyframe
    return frame.select((pl.col("arrived") > left).fill_null(True))


def _is_clock(data: Any) -> "pl.LazyFrame":
    import polars as pl

    frame: pl.LazyFrame = data.lazyframe
    return frame.select(pl.col(data.key) % 100 < MINUTES)
