"""How much evidence each stage of a release asks for: numbers with their reasons. The decisions are `canary`, `reconcile`."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from stacks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ReleasePolicy:
    """Every minimum in one place. Sized for some 400 requests/s and ten labelled hours of events a second, where a healthy
    release takes 15 to 20 s; with less traffic the same numbers take longer, never less evidence."""

    tick_s: float = 0.5
    """Also the length of a unit in which the two arms are compared: long enough to hold a burst of errors."""
    alpha: float = 0.05
    """Chance that a release which is no worse is ever called worse, over all its metrics, steps and looks together."""
    beta: float = 0.10
    """Chance that a release which is worse by the model's `canary_margin` or more is ever promoted."""
    staging_s: float = 90.0
    """A server restores its image, loads its model and answers in some 5 s; one that has not by now will not."""
    shadow_answers: int = 400
    """A fault that hits 1 % of requests shows itself in 400 with 98 %."""
    shadow_pairs: int = 200
    """Requests found answered by both in the prediction log: without them no label can ever judge the release."""
    shadow_failed: float = 0.01
    """Share of failed shadow answers that a release may have: a mirror may be cut short, a broken model fails all."""
    canary_requests: tuple[int, ...] = (60, 250, 500)
    """Callers' requests at 5, 25 and 50 %: about 3 s each. One that fails one in ten is in doubt by the first 60, and stays."""
    canary_blocks: tuple[int, ...] = (15, 30, 45)
    """Labelled blocks since shadow began, before each step is left, so that no weight rises before labels could speak."""
    block_pairs: int = 20
    """An hour with fewer pairs joins the next: the mean of three flights is noise, and night hours have no more."""
    label_lag_h: float = 3.0
    """An hour is judged when labels are known up to so long after it: by then most are there, stragglers join a later hour."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def load(cls, path: Path) -> "ReleasePolicy":
        """The defaults, with the keys of the JSON file at `path` put over them where there is one. Raises UserError."""
        if not path.exists():
            return cls()
        known = {item.name for item in fields(cls)}
        try:
            given: dict[str, Any] = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error})", "Mend it, or delete it to use the defaults.") from error
        unknown = sorted(set(given) - known)
        if unknown:
            raise UserError(f"{path}: unknown key {unknown[0]!r}", f"Known are {', '.join(sorted(known))}.")
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        return cls(**values)
