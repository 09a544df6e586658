"""Faults a feed really has, for drills and tests: the pure damage, never applied by the platform itself."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def damage(frame: "pl.DataFrame", *, numeric: str, categorical: str, entity: str, share: float = 0.03) -> "pl.DataFrame":
    """A copy of a delivery in which `share` of the rows have a negative number, as many no category, and as many come twice."""
    import polars as pl

    cut = max(1, int(frame.height * share))
    row = pl.int_range(pl.len())
    sick = frame.with_columns(
        pl.when(row < cut).then(-pl.col(numeric)).otherwise(pl.col(numeric)).alias(numeric),
        pl.when((row >= cut) & (row < 2 * cut)).then(None).otherwise(pl.col(categorical)).alias(categorical),
    )
    return pl.concat([sick, frame.sort(entity).tail(cut)])
