"""How good a prediction was: the bounded loss that releases are judged by, and the metrics that people read."""

from typing import TYPE_CHECKING

from pipelines.model import Guardrails

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

GUARDRAILS = Guardrails(
    # The share-by-hour baseline has a Brier loss near .16 and a fresh model near .12: a gain under .005 is no model.
    min_gain_over_baseline=0.005,
    # A refreshed model may be as good as the champion, within the noise of a month (half-width .002 by days).
    max_loss_over_champion=0.002,
    max_slice_loss_over_champion=0.02,
    min_slice_rows=500,
    canary_margin=0.01,
)


def loss(label: "Floats", prediction: "Floats") -> "Floats":
    """Brier loss a row: squared error of the probability, in [0, 1]."""
    difference: Floats = (prediction - label) ** 2
    return difference


def metrics(label: "Floats", prediction: "Floats") -> dict[str, float]:
    """AUC, log loss, Brier loss, base rate and calibration error (mean prediction minus base rate)."""
    import numpy as np
    from scipy.stats import rankdata

    y, p = np.asarray(label, dtype=np.float64), np.clip(np.asarray(prediction, dtype=np.float64), 1e-6, 1 - 1e-6)
    late, on_time = int(y.sum()), int(len(y) - y.sum())
    ranks = rankdata(p)
    auc = (ranks[y == 1].sum() - late * (late + 1) / 2) / (late * on_time) if late and on_time else float("nan")
    return {
        "auc": float(auc),
        "log_loss": float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()),
        "brier": float(((p - y) ** 2).mean()),
        "base_rate": float(y.mean()),
        "calibration": float(p.mean() - y.mean()),
    }
