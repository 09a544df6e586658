"""Tests by days: how often they alarm where nothing moved, what they find where something did, and their p-values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import kstest

from pipelines.monitoring.blocks import Blocks, cell_counts, day_index, step_down, two_sample

SEED = 20132
COLUMNS, CELLS = 20, 6
FAMILY = np.repeat(np.arange(COLUMNS), CELLS)
WINDOWS = 240
# 199 permutations make a test at 5 % as exact as 999 do, and cost a fifth.
PERMUTATIONS = 199
# Three standard deviations of 240 windows at 5 %: 4.2 points.
TOLERATED = 0.05 + 3 * np.sqrt(0.05 * 0.95 / WINDOWS)


def shares(rng: np.random.Generator, rows: list[int], *, sd: float = 0.05, shift: float = 0.0) -> Blocks:
    """Days of 20 columns with 6 cells each. A day moves all cells of a column together; `shift` moves the first column."""
    weight = np.array(rows)[:, None]
    level = np.linspace(0.1, 0.9, CELLS)
    columns = []
    for column in range(COLUMNS):
        luck = sd * rng.standard_t(5, (len(rows), 1))
        columns.append(rng.binomial(weight, np.clip(level + luck + (shift if column == 0 else 0.0), 0.001, 0.999)))
    total = np.hstack(columns).astype(np.float64)
    return Blocks(total, np.repeat(weight.astype(np.float64), COLUMNS * CELLS, axis=1))


@pytest.mark.parametrize(("before", "after"), [(60, 30), (30, 60), (90, 7)])
def test_without_drift_one_window_in_twenty_alarms_over_all_columns_together(before: int, after: int) -> None:
    rng = np.random.default_rng(SEED)
    smallest = []
    for window in range(WINDOWS):
        reference, current = shares(rng, [100] * before), shares(rng, [100] * after)
        smallest.append(two_sample(reference, current, FAMILY, seed=window, permutations=PERMUTATIONS).p.min())
    alarms = float(np.mean(np.array(smallest) <= 0.05))
    assert alarms <= TOLERATED, f"seed {SEED}: family-wise error over {COLUMNS} columns"
    assert alarms >= 0.01, "a test that never alarms has no power to spare"
    # The smallest adjusted p-value of a family that has not moved is uniform.
    assert kstest(smallest, "uniform").pvalue > 0.001, f"seed {SEED}: {np.quantile(smallest, [0.1, 0.25, 0.5, 0.75])}"


def test_a_row_level_test_would_call_most_calm_windows_new() -> None:
    """What this replaces: a z-test of each share, Bonferroni over all cells, which takes rows of a day as independent."""
    rng = np.random.default_rng(SEED)
    alarms = 0
    for _ in range(50):
        sides = [shares(rng, [100] * days) for days in (60, 30)]
        rows = [side.weight.sum(axis=0) for side in sides]
        share = [side.total.sum(axis=0) / count for side, count in zip(sides, rows, strict=True)]
        pooled = sum(side.total.sum(axis=0) for side in sides) / sum(rows)
        z = np.abs(share[1] - share[0]) / np.sqrt(pooled * (1 - pooled) * (1 / rows[0] + 1 / rows[1]))
        alarms += bool(z.max() > 3.7)  # 5 % over 240 tails
    assert alarms > 40


def test_a_shift_in_one_column_of_twenty_is_found_and_the_others_are_left_alone() -> None:
    rng = np.random.default_rng(SEED)
    found = others = 0
    for window in range(60):
        compared = two_sample(
            shares(rng, [100] * 60), shares(rng, [100] * 30, shift=0.06), FAMILY, seed=window, permutations=PERMUTATIONS
        )
        found += compared.p[0] <= 0.05
        others += bool((compared.p[1:] <= 0.05).any())
    # A shift by six points, where a day's luck is six points too: 4 standard errors over 30 and 60 days.
    assert found >= 50, f"seed {SEED}"
    assert others <= 8, f"seed {SEED}: a column that moved does not make the others move (5 % of 60 are 3 ± 1.7)"


def test_how_much_traffic_a_side_has_does_not_change_the_verdict() -> None:
    rng = np.random.default_rng(SEED)
    reference, current = shares(rng, [100] * 20), shares(rng, [100] * 20, shift=0.04)
    plain = two_sample(reference, current, FAMILY, seed=1, permutations=PERMUTATIONS)
    scaled = two_sample(Blocks(reference.total * 9, reference.weight * 9), current, FAMILY, seed=1, permutations=PERMUTATIONS)
    assert scaled.difference == pytest.approx(plain.difference)
    assert scaled.p == pytest.approx(plain.p), "a day counts as a day, whatever its rows"
    alike = two_sample(reference, reference, FAMILY, seed=1, permutations=PERMUTATIONS)
    assert alike.p == pytest.approx(1.0)


def test_what_comes_in_clusters_does_not_take_the_power_from_the_other_columns() -> None:
    """Snow on a day in four: many a split leaves seven days without any, and with no variance that looks like certainty."""
    rng = np.random.default_rng(SEED)
    found = 0
    for window in range(60):
        sides = [shares(rng, [100] * 90), shares(rng, [100] * 7, shift=0.14)]
        for side in sides:
            for column in range(1, 7):
                side.total[:, -CELLS * column] = np.where(rng.random(side.days) < 0.25, 90.0, 0.0)
        found += two_sample(sides[0], sides[1], FAMILY, seed=window, permutations=PERMUTATIONS).p[0] <= 0.05
    assert found >= 50, f"seed {SEED}: without a prior variance, in 40 of 60"


def test_difference_and_error_are_those_of_a_ratio_of_sums_by_days() -> None:
    rng = np.random.default_rng(SEED)
    sides = [shares(rng, list(rng.integers(50, 150, days))) for days in (60, 30)]
    compared = two_sample(sides[0], sides[1], FAMILY, seed=1, permutations=PERMUTATIONS)
    means = [side.total.sum(axis=0) / side.weight.sum(axis=0) for side in sides]
    assert compared.difference == pytest.approx(means[1] - means[0])
    variance = sum(
        ((side.total - mean * side.weight) ** 2).sum(axis=0) / side.weight.sum(axis=0) ** 2
        for side, mean in zip(sides, means, strict=True)
    )
    # Shrunk by three days in thirty towards the pooled variance, so near it and not equal.
    assert np.median(compared.error / np.sqrt(variance)) == pytest.approx(1.0, abs=0.1)


def test_a_cell_that_nobody_ever_fell_into_neither_alarms_nor_hides_the_others() -> None:
    rng = np.random.default_rng(SEED)
    sides = [shares(rng, [100] * 30), shares(rng, [100] * 30, shift=0.2)]
    for side in sides:
        side.total[:, -1] = 0.0
        side.weight[:, -CELLS] = 0.0
    compared = two_sample(sides[0], sides[1], FAMILY, seed=1, permutations=PERMUTATIONS)
    assert np.isfinite(compared.statistic).all()
    assert compared.p[0] <= 0.05
    assert compared.statistic[-1] == 0.0


@given(
    statistic=hnp.arrays(np.float64, (40, 5), elements=st.floats(0, 9, allow_nan=False)), order=st.permutations(list(range(5)))
)
def test_adjusted_p_values_are_ordered_bounded_and_do_not_depend_on_the_order_of_columns(
    statistic: np.ndarray, order: list[int]
) -> None:
    adjusted = step_down(statistic)
    observed, drawn = statistic[0], statistic[1:]
    alone = (1 + (drawn >= observed - 1e-12).sum(axis=0)) / 40
    together = (1 + (drawn.max(axis=1)[:, None] >= observed - 1e-12).sum(axis=0)) / 40
    assert (adjusted >= alone - 1e-12).all(), "never below the column's own p-value"
    assert (adjusted <= together + 1e-12).all(), "never above the single step, which looks at all columns each time"
    assert adjusted[observed.argmax()] == pytest.approx(together[observed.argmax()])
    ranked = adjusted[np.argsort(-observed, kind="stable")]
    assert (np.diff(ranked) >= 0).all(), "a smaller statistic never has the smaller p-value"
    distinct = len(set(observed)) == len(observed)
    assert not distinct or step_down(statistic[:, order]) == pytest.approx(adjusted[order])


@given(st.lists(st.integers(0, 60), max_size=50), st.integers(1, 7))
def test_days_are_numbered_in_order_of_time_without_gaps(offsets: list[int], width: int) -> None:
    days = np.datetime64("2013-01-01") + np.array(offsets, dtype="timedelta64[D]")
    number, count = day_index(days, width)
    blocks = days.astype("datetime64[D]").astype(np.int64) // width
    assert count == len(set(blocks.tolist()))
    assert set(number.tolist()) == set(range(count))
    for one in range(len(days)):
        for other in range(one):
            assert (number[one] < number[other]) == (blocks[one] < blocks[other])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=30))
def test_rows_a_day_and_cell_are_what_a_loop_would_count(rows: list[tuple[int, int]]) -> None:
    day, cell = (np.array([row[part] for row in rows], dtype=np.int64) for part in (0, 1))
    expected = [[rows.count((here, there)) for there in range(3)] for here in range(4)]
    assert cell_counts(day, 4, cell, 3).tolist() == expected
