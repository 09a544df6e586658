"""Point-in-time features: what was known at a flight's scheduled departure, and nothing later. Pure polars.

The same function makes training rows and live requests, so the two cannot drift apart.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipelines.flight_delay.schema import FEATURES, LATE_MIN, WEATHER
from pipelines.flight_delay.sources import ZONE

if TYPE_CHECKING:
    import polars as pl

STATE_WINDOW = "3h"
REPORT_LAG_MIN = 45
"""How long a departure takes to be known; it also keeps a flight's own early departure (43 min at most in 2013) out."""
WEATHER_STALE = "4h"
"""An older observation says little about the hour ahead."""


def build_features(sources: "Mapping[str, pl.DataFrame]") -> "pl.DataFrame":
    """Rows for every flight in `sources["flights"]`: entity, event_time, label, label_time, then the features.

    Flights and weather of the month before may be included as history; without them the first hours of a month know less.
    A cancelled or diverted flight has no arrival: its label is null.
    """
    import polars as pl

    flights = sources["flights"].unique(subset="flight_id", keep="first").sort("sched_dep", "flight_id")
    minute = pl.duration(minutes=1)
    flights = flights.with_columns(
        departed=pl.col("sched_dep") + pl.col("dep_delay") * minute,
        planned_min=_planned(),
    )
    rows = _with_weather(flights, sources["weather"])
    rows = _with_plane(rows, sources["planes"])
    rows = _with_state(rows, flights, by="origin", name="origin_delay")
    rows = _with_state(rows, flights, by="carrier", name="carrier_delay")
    rows = _with_inbound(rows, flights)
    local = pl.col("sched_dep").dt.convert_time_zone(ZONE)
    return (
        rows.with_columns(
            hour=(local.dt.hour() + local.dt.minute() / 60).cast(pl.Float64),
            weekday=local.dt.weekday().cast(pl.Float64),
            event_time=pl.col("sched_dep"),
            label=pl.when(pl.col("arrived").is_not_null()).then((pl.col("arr_delay") >= LATE_MIN).cast(pl.Float64)),
            label_time=pl.col("arrived"),
        )
        .select("flight_id", "event_time", "label", "label_time", *(feature.name for feature in FEATURES))
        .sort("event_time", "flight_id")
    )


def _planned() -> "pl.Expr":
    import polars as pl

    def minutes(name: str) -> pl.Expr:
        return pl.col(name) // 100 * 60 + pl.col(name) % 100

    return ((minutes("sched_arr_time") - minutes("sched_dep_time")) % 1440).cast(pl.Float64)


def _with_weather(rows: "pl.DataFrame", weather: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    # `observed` is the start of the hour; its reading is out when the hour is over.
    known = weather.select("origin", *WEATHER, out=pl.col("observed") + pl.duration(hours=1)).sort("out")
    return rows.join_asof(
        known,
        left_on="sched_dep",
        right_on="out",
        by="origin",
        strategy="backward",
        tolerance=WEATHER_STALE,
        check_sortedness=False,
    )


def _with_plane(rows: "pl.DataFrame", planes: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    register = planes.unique(subset="tailnum", keep="last", maintain_order=True)  # an entry that changed: the newer one
    return rows.join(register, on="tailnum", how="left", maintain_order="left").with_columns(
        plane_age=(pl.col("sched_dep").dt.year() - pl.col("built")).cast(pl.Float64)
    )


def _with_state(rows: "pl.DataFrame", flights: "pl.DataFrame", *, by: str, name: str) -> "pl.DataFrame":
    """Mean departure delay of the flights that were reported to have left in the last STATE_WINDOW before this schedule."""
    import polars as pl

    moment = f"{name}_known"
    left = flights.filter(pl.col("departed").is_not_null()).select(
        by, "dep_delay", (pl.col("departed") + pl.duration(minutes=REPORT_LAG_MIN)).alias(moment)
    )
    window = left.sort(moment).rolling(moment, period=STATE_WINDOW, group_by=by).agg(pl.col("dep_delay").mean().alias(name))
    known = window.group_by(by, moment, maintain_order=True).last().sort(moment)
    return rows.join_asof(
        known,
        left_on="sched_dep",
        right_on=moment,
        by=by,
        strategy="backward",
        tolerance=STATE_WINDOW,
        allow_exact_matches=False,
        check_sortedness=False,
    )


def _with_inbound(rows: "pl.DataFrame", flights: "pl.DataFrame") -> "pl.DataFrame":
    """Arrival delay of the same aircraft's last flight that was at its gate before this schedule, within a day."""
    import polars as pl

    landed = (
        flights.filter(pl.col("arrived").is_not_null() & pl.col("tailnum").is_not_null())
        .select("tailnum", inbound="arrived", plane_delay="arr_delay")
        .sort("inbound")
    )
    return rows.join_asof(
        landed,
        left_on="sched_dep",
        right_on="inbound",
        by="tailnum",
        strategy="backward",
        tolerance="1d",
        allow_exact_matches=False,
        check_sortedness=False,
    )
