"""From a trained graph to what can be served and read: signature, model card, an example with the answers it must give."""

from typing import TYPE_CHECKING, Any

from pipelines.model import Model, encode
from pipelines.serving.package import Package, Signature
from pipelines.training.dataset import TrainingSet
from pipelines.training.evaluation import score

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = 16


def build(model: Model, onnx: bytes, held_out: "pl.DataFrame", chosen: TrainingSet, evaluation: dict[str, Any]) -> Package:
    """The package of a graph; its example rows are spread over the held-out rows."""
    step = max(1, held_out.height // EXAMPLES)
    rows = held_out.gather_every(step).head(EXAMPLES)
    names = [feature.name for feature in model.features]
    return Package(
        onnx=onnx,
        signature=Signature.of(model),
        card=card(model, chosen, evaluation),
        example=rows.select(names).to_dicts(),
        expected=[float(value) for value in score(onnx, encode(model.features, rows))],
    )


def prefix(model: Model, package: Package) -> str:
    """Where the package lies in the artifacts bucket."""
    return f"packages/{model.name}/{package.digest[:12]}"


def card(model: Model, chosen: TrainingSet, evaluation: dict[str, Any]) -> str:
    """The model card in Markdown: what it is for, what it learned from, how good it is and where it is not."""
    names = list(evaluation["metrics"])
    keys = list(evaluation["metrics"]["candidate"])
    lines = [f"# {model.name}", "", (type(model).__doc__ or "").strip().splitlines()[0], "", "## Learned from", ""]
    held = f"{chosen.rows:,} labelled rows, {chosen.held_out:,} held out ({chosen.split})"
    lines += [f"- months: {', '.join(chosen.partitions)}; {held}"]
    lines += [f"- table `{name}` at version {version}" for name, version in sorted(chosen.tables.items())]
    lines += [f"- feature view `{chosen.feature_view}`", "", "## On the held-out rows", ""]
    lines += ["| | " + " | ".join(keys) + " |", "|---|" + "---|" * len(keys)]
    lines += [f"| {name} | " + " | ".join(f"{evaluation['metrics'][name][key]:.4f}" for key in keys) + " |" for name in names]
    lines += ["", "## Slices (mean loss)", "", "| slice | rows | candidate |", "|---|---|---|"]
    lines += [f"| {name} | {one['rows']:,} | {one['candidate']:.4f} |" for name, one in evaluation["slices"].items()]
    lines += [
        "",
        "## Limits",
        "",
        "Judged on months it knows. What flies later may differ: monitoring watches, canary decides.",
        "",
    ]
    return "\n".join(lines)
