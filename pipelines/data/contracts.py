"""The door: a delivery against the model's contract, row by row and as a batch. Pure; what follows from it is `batches`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.model import Model

if TYPE_CHECKING:
    import polars as pl

MAX_BAD_SHARE = 0.01
"""Above one bad row in a hundred the fault is the feed's, not a row's, and the whole month is held back.
Below it the rows are quarantined and the month goes on: every month of real weather has an odd reading."""
MIN_VOLUME = 0.5
"""A month with less than half the rows of the one before is a broken feed: 2013's months differ by 15 % at most."""
REASON = "_reason"


@dataclass(frozen=True)
class Verdict:
    """What the contract says of one source of a delivery."""

    source: str
    rows: int
    accepted: "pl.DataFrame"
    rejected: "pl.DataFrame"
    """The rows that broke the contract, each with its reasons in `_reason`."""
    faults: tuple[str, ...]
    """Why the month is held back; empty if it may pass."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows broke each rule, the most frequent first."""
        import polars as pl

        counts = self.rejected.select(pl.col(REASON).str.split("; ").explode()).to_series().value_counts(sort=True)
        return dict(counts.iter_rows())


def check(model: Model, frames: "Mapping[str, pl.DataFrame]", *, usual_rows: Mapping[str, int]) -> list[Verdict]:
    """Judge each source the model needs. `usual_rows` is the row count of the month before, where there was one."""
    import polars as pl

    verdicts = []
    for source in model.sources:
        frame = frames.get(source)
        if frame is None or frame.is_empty():
            nothing = pl.DataFrame(schema={REASON: pl.String})
            verdicts.append(Verdict(source, 0, nothing, nothing, (f"{source}: the delivery holds no rows of it",)))
            continue
        verdicts.append(_check_source(model, source, frame, usual_rows.get(source)))
    return verdicts


def _check_source(model: Model, source: str, frame: "pl.DataFrame", usual: int | None) -> Verdict:
    import polars as pl

    reasons = _broken_rules(model, source, frame)
    identity = model.entity
    if source == model.sources[0] and identity in frame.columns:
        # The first of several equal ids is the row; the others are copies.
        copies = frame.select(copy=pl.int_range(pl.len()).over(identity) > 0)["copy"]
        for row in copies.arg_true():
            reasons.setdefault(int(row), []).append(f"{identity}: delivered twice")
    bad = sorted(reasons)
    rejected = frame[bad].with_columns(
        pl.Series(REASON, ["; ".join(sorted(set(reasons[row]))) for row in bad], dtype=pl.String)
    )
    accepted = frame.with_row_index("_row").filter(~pl.col("_row").is_in(bad)).drop("_row")
    faults = []
    if len(bad) > MAX_BAD_SHARE * frame.height:
        faults.append(f"{source}: {len(bad):,} of {frame.height:,} rows break the contract (limit {MAX_BAD_SHARE:.0%})")
    if usual and frame.height < MIN_VOLUME * usual:
        faults.append(f"{source}: {frame.height:,} rows, the month before had {usual:,}")
    return Verdict(source, frame.height, accepted, rejected, tuple(faults))


def _broken_rules(model: Model, source: str, frame: "pl.DataFrame") -> dict[int, list[str]]:
    """Row number to the rules it breaks. A missing or mistyped column breaks every row."""
    import pandera.errors as pe

    broken: dict[int, list[str]] = {}
    try:
        model.contract(source).validate(frame, lazy=True)
    except pe.SchemaErrors as errors:
        for error in errors.failure_cases.iter_rows(named=True):
            column, rule, row = error.get("column"), error["check"], error.get("index")
            if rule == "column_in_dataframe":  # what is missing stands in the case itself
                column, rule = error["failure_case"], "no such column in the delivery"
            rows = range(frame.height) if row is None else [int(row)]
            for number in rows:
                broken.setdefault(number, []).append(f"{column or source}: {rule}")
    return broken
