"""The shadow verdict: may a release that so far only answers copies be shown to callers? Pure."""

from dataclasses import dataclass

from pipelines.release.canary import Call, Verdict
from pipelines.release.policy import ReleasePolicy


@dataclass(frozen=True)
class Seen:
    """What is known of a shadow: copies answered and failed at the gateway, and pairs found in the prediction log."""

    answers: int = 0
    failed: int = 0
    pairs: int = 0
    mean_difference: float = 0.0
    """Mean of |candidate - champion| over the pairs."""
    max_difference: float = 0.0


def verdict(seen: Seen, policy: ReleasePolicy) -> Verdict:
    """Roll back (reject), go on to canary, or hold for more copies. Disagreement is reported, not judged: labels judge."""
    numbers = {
        "answers": seen.answers,
        "failed": seen.failed,
        "pairs": seen.pairs,
        "mean_difference": round(seen.mean_difference, 5),
        "max_difference": round(seen.max_difference, 5),
        "answers_needed": policy.shadow_answers,
        "pairs_needed": policy.shadow_pairs,
    }
    # Rejected before all answers are in, once so many failed that the share cannot come down any more.
    if seen.failed > policy.shadow_failed * max(seen.answers, policy.shadow_answers):
        reason = f"{seen.failed} of {seen.answers} shadow answers failed (at most {policy.shadow_failed:.0%})"
        return Verdict(Call.ROLLBACK, reason, numbers)
    missing = []
    if seen.answers < policy.shadow_answers:
        missing.append(f"{seen.answers} of {policy.shadow_answers} shadow answers")
    if seen.pairs < policy.shadow_pairs:
        missing.append(f"{seen.pairs} of {policy.shadow_pairs} pairs in the prediction log")
    if missing:
        return Verdict(Call.HOLD, f"not enough traffic: {', '.join(missing)}", numbers)
    reason = f"{seen.answers} shadow answers, {seen.failed} failed, predictions differ by {seen.mean_difference:.3f} on average"
    return Verdict(Call.PROMOTE, reason, numbers)
