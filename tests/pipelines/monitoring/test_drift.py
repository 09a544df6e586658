"""The drift verdict on frames as they come: broken, empty, sparse and out of order. None may crash it or hide the others."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.model import Feature
from pipelines.monitoring.drift import DriftPolicy, DriftVerdict, judge
from tests.pipelines.monitoring import calm

SEED = 20134
DAYS = [60] * 30
NUMBER, CATEGORY = pl.col("number1"), pl.col("category1")
MISSING_NUMBER, MISSING_TEXT = pl.lit(None, dtype=pl.Float64), pl.lit(None, dtype=pl.String)
Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def sides() -> tuple[pl.DataFrame, pl.DataFrame]:
    """A calm month, and one in which number0 moved by a whole standard deviation."""
    rng = np.random.default_rng(SEED)
    return calm.month(rng, DAYS, luck=0.1), calm.month(rng, DAYS, luck=0.1, shift=1.0)


def verdict(reference: pl.DataFrame, current: pl.DataFrame) -> DriftVerdict:
    return judge(reference, current, calm.FEATURES, time=calm.TIME)


def set_to(name: str, value: object, dtype: pl.DataType | type[pl.DataType]) -> Change:
    return lambda frame: frame.with_columns(pl.lit(value, dtype=dtype).alias(name))


@pytest.mark.parametrize("where", ["reference", "current", "both"])
@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("number1", set_to("number1", None, pl.Float64)),
        ("number1", set_to("number1", None, pl.Null)),
        ("number1", set_to("number1", float("nan"), pl.Float64)),
        ("number1", set_to("number1", float("inf"), pl.Float64)),
        ("number1", set_to("number1", "n/a", pl.String)),
        ("number1", set_to("number1", [1.0, 2.0], pl.List(pl.Float64))),
        ("number1", lambda frame: frame.drop("number1")),
        ("category1", set_to("category1", None, pl.String)),
        ("category1", set_to("category1", [1.0], pl.List(pl.Float64))),
        ("category1", lambda frame: frame.drop("category1")),
    ],
    ids=["null", "no type", "NaN", "infinite", "text", "list", "no column", "null text", "list of text", "no text column"],
)
def test_one_broken_column_is_told_and_does_not_hide_the_others(
    sides: tuple[pl.DataFrame, pl.DataFrame], column: str, change: Change, where: str
) -> None:
    reference, current = sides
    if where in {"reference", "both"}:
        reference = change(reference)
    if where in {"current", "both"}:
        current = change(current)
    found = verdict(reference, current)
    assert found.decided
    assert "number0" in found.drifted, "the shift beside it is found all the same"
    judged, skipped = {one.name for one in found.columns}, dict(found.skipped)
    assert judged | set(skipped) == {feature.name for feature in calm.FEATURES}, "every column has an answer"
    if column in skipped:
        assert skipped[column], "with its reason"
    else:
        one = next(one for one in found.columns if one.name == column)
        assert one.drifted, "a column that lost all its values on one side has changed altogether"
        assert one.effect == pytest.approx(1.0)
        assert one.where.startswith("(missing):")
    assert set(found.drifted) <= {"number0", column}
    assert all(np.isfinite([one.effect, one.p]).all() for one in found.columns)


def test_nothing_to_judge_is_no_verdict_with_a_reason(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, current = sides
    for short in (current.clear(), current.filter(pl.col(calm.TIME).dt.day() <= 6)):
        found = verdict(reference, short)
        assert not found.decided
        assert "a verdict needs 7 of each" in found.reason
        assert found.drifted == ()
        assert verdict(short, reference).decided is False
    nothing = judge(reference.select(calm.TIME), current.select(calm.TIME), calm.FEATURES, time=calm.TIME)
    assert not nothing.decided
    assert len(nothing.skipped) == len(calm.FEATURES)
    seven = verdict(reference, current.filter(pl.col(calm.TIME).dt.day() <= 7))
    assert seven.decided
    assert seven.days == (30, 7)


def test_rows_without_a_moment_are_left_out(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, current = sides
    lost = current.head(300).with_columns(pl.lit(None, dtype=pl.Datetime("us")).alias(calm.TIME), number2=pl.lit(99.0))
    with_lost = verdict(reference, pl.concat([lost, current]))
    assert with_lost.columns == verdict(reference, current).columns
    assert with_lost.rows == (1800, 2100), "all rows are counted"


def test_the_verdict_does_not_depend_on_the_order_of_rows(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, current = sides
    shuffled = verdict(reference.sample(fraction=1.0, shuffle=True, seed=SEED), current.reverse())
    assert shuffled == verdict(reference, current)


def test_the_same_frames_have_the_same_verdict_and_stay_as_they_are(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, current = sides
    dense = pl.concat([reference] * 4)
    before = dense.clone()
    assert verdict(dense, current) == verdict(dense, current), "also where rows are left out by chance"
    assert_frame_equal(dense, before)


def test_a_reference_whose_stations_report_in_turn_is_not_thinned_to_one_station() -> None:
    """Three times the rows in the reference: every third of them would be one station alone."""
    rng = np.random.default_rng(SEED)

    def stations(rows: int) -> pl.DataFrame:
        moments = pl.datetime_range(pl.datetime(2013, 1, 1), pl.datetime(2013, 1, 30, 23, 59), f"{1440 // rows}m", eager=True)
        number = np.arange(len(moments)) % 3
        return pl.DataFrame({calm.TIME: moments, "level": number * 10 + rng.normal(size=len(moments)), "station": number})

    features = (Feature(name="level"), Feature(name="station", kind="categorical"))
    found = judge(stations(360), stations(120), features, time=calm.TIME)
    assert found.decided
    assert found.drifted == (), [column.where for column in found.columns]
    assert max(column.effect for column in found.columns) < 0.05


def test_a_long_column_that_repeats_keeps_all_its_levels() -> None:
    """Sixty thousand rows in a cycle of three: every third value would be one level, and what the others do unseen."""
    rows = 60_000
    day = np.arange(rows) * 20 // rows
    moments = np.datetime64("2013-01-01", "us") + day.astype("timedelta64[D]")
    cycle = np.arange(rows) % 3
    reference = pl.DataFrame({calm.TIME: moments, "level": cycle * 10.0})
    current = reference.with_columns(level=pl.Series(np.where(cycle == 2, 15.0, cycle * 10.0)))
    found = judge(reference, current, (Feature(name="level"),), time=calm.TIME)
    assert found.drifted == ("level",)
    assert found.columns[0].effect == pytest.approx(1 / 3, abs=0.01)


def test_categories_that_swap_their_shares_drift_by_the_share_that_moved(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, _ = sides
    swapped = reference.with_columns(CATEGORY.replace({"dog": "ant", "ant": "dog"}).alias("category1"))
    found = verdict(reference, swapped)
    assert found.drifted == ("category1",)
    share = {name: float((reference["category1"] == name).sum()) / reference.height for name in ("dog", "ant")}
    assert found.columns[calm.NUMBERS + 1].effect == pytest.approx(share["dog"] - share["ant"], abs=1e-9)
    assert found.columns[calm.NUMBERS + 1].where.split(":")[0] in {"dog", "ant"}


def test_a_category_may_bear_the_names_the_verdict_uses_itself(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, _ = sides
    named = {"ant": "(other)", "bee": "(missing)"}
    renamed = reference.with_columns(CATEGORY.replace(named).alias("category1"))
    assert verdict(renamed, renamed).drifted == ()
    half_null = renamed.with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(MISSING_TEXT).otherwise(CATEGORY).alias("category1")
    )
    found = verdict(renamed, half_null)
    assert found.drifted == ("category1",), "a category called (missing) is not what is missing"
    assert found.columns[calm.NUMBERS + 1].effect == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["count", "value", "len", "literal"])
def test_a_column_may_have_any_name(sides: tuple[pl.DataFrame, pl.DataFrame], name: str) -> None:
    reference, current = (side.select(calm.TIME, pl.col("category1").alias(name)) for side in sides)
    found = judge(reference, current, (Feature(name=name, kind="categorical"),), time=calm.TIME)
    assert found.skipped == ()
    assert found.columns[0].name == name


def test_a_category_of_which_every_value_is_rare_is_no_crash(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """Identifiers: no value has a hundredth of the rows, so all of them are others, on both sides."""
    reference, current = (
        side.select(calm.TIME, id=pl.int_range(pl.len()).cast(pl.String) + tag) for side, tag in zip(sides, "ab", strict=True)
    )
    found = judge(reference, current, (Feature(name="id", kind="categorical"),), time=calm.TIME)
    assert found.decided
    assert found.drifted == ()


def test_missing_values_that_become_more_are_drift_even_where_the_rest_stays(
    sides: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    reference, _ = sides
    quarter = pl.int_range(pl.len()) % 4 == 0
    for change in (
        pl.when(quarter).then(MISSING_NUMBER).otherwise(NUMBER).alias("number1"),
        pl.when(quarter).then(MISSING_TEXT).otherwise(CATEGORY).alias("category1"),
    ):
        found = verdict(reference, reference.with_columns(change))
        name = change.meta.output_name()
        assert found.drifted == (name,)
        one = next(one for one in found.columns if one.name == name)
        assert one.effect == pytest.approx(0.25, abs=0.01)
        assert one.where == "(missing): +25.0% of rows"


def test_one_wild_reading_makes_no_drift_and_hides_none(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, current = sides
    wild = pl.when(pl.int_range(pl.len()) == 7).then(1e300)
    calm_month = reference.with_columns(wild.otherwise(NUMBER).alias("number1"))
    assert verdict(reference, calm_month).drifted == ()
    moved = current.with_columns(wild.otherwise(pl.col("number0")).alias("number0"))
    assert verdict(reference, moved).drifted == ("number0",)


def test_a_constant_column_is_calm_and_one_that_starts_to_vary_is_not(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, _ = sides
    constant = reference.with_columns(pl.lit(0.1).alias("number1"))
    assert verdict(constant, constant).drifted == ()
    found = verdict(constant, reference)
    assert found.drifted == ("number1",)


def test_days_that_belong_together_are_counted_as_one(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, current = sides
    found = judge(reference, current, calm.FEATURES, time=calm.TIME, policy=DriftPolicy(block_days=7))
    assert not found.decided, "thirty days are five or six weeks"
    pairs = judge(reference, current, calm.FEATURES, time=calm.TIME, policy=DriftPolicy(block_days=3))
    assert pairs.decided
    assert pairs.drifted == ("number0",)


def test_what_drifted_is_named_with_the_largest_effect_first(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    reference, current = sides
    moved = current.with_columns(number5=pl.col("number5") + 0.5, number6=pl.col("number6") + 3)
    assert verdict(reference, moved).drifted == ("number6", "number0", "number5")
