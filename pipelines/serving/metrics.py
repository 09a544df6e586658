"""What a model server counts, as Prometheus reads it at `/metrics`. Names here are a contract with dashboards and alerts."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

ARMS = ("live", "shadow")
# Around the SLO of 100 ms and the few milliseconds that an answer takes.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The counters of one server process, in a registry of its own."""

    def __init__(self, *, release: str, model: str, image: str, pending: Callable[[], float]) -> None:
        import prometheus_client as prometheus

        self.registry = registry = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter(
            "spotforge_requests", "Prediction requests answered", ("arm", "code"), registry=registry
        )
        seconds = prometheus.Histogram(
            "spotforge_request_seconds", "Time from the whole body to the answer", ("arm",), buckets=SECONDS, registry=registry
        )
        rows = prometheus.Counter("spotforge_predictions", "Rows predicted", ("arm",), registry=registry)
        self._faults = prometheus.Counter(
            "spotforge_feature_faults",
            "Values that the signature does not expect: unseen category, null, out of range",
            ("feature", "kind"),
            registry=registry,
        )
        logged = prometheus.Counter(
            "spotforge_prediction_log_rows",
            "Logged predictions: written to the table, or lost",
            ("outcome",),
            registry=registry,
        )
        commits = prometheus.Counter("spotforge_prediction_log_commits", "Appends tried", ("outcome",), registry=registry)
        self.commit_seconds: Histogram = prometheus.Histogram(
            "spotforge_prediction_log_commit_seconds", "Time of one append", buckets=SECONDS, registry=registry
        )
        waiting = prometheus.Gauge("spotforge_prediction_log_pending_rows", "Answered, not yet in the table", registry=registry)
        waiting.set_function(pending)
        info = prometheus.Gauge("spotforge_release_info", "Always 1", ("release", "model", "image"), registry=registry)
        info.labels(release, model, image).set(1)
        prometheus.ProcessCollector(registry=registry)
        self.seconds = {arm: seconds.labels(arm) for arm in ARMS}
        self.rows = {arm: rows.labels(arm) for arm in ARMS}
        self.written, self.lost = logged.labels("written"), logged.labels("lost")
        self.commits_ok, self.commits_failed = commits.labels("ok"), commits.labels("failed")
        self._codes: dict[tuple[str, int], Counter] = {}

    def answered(self, arm: str, status: int) -> None:
        counter = self._codes.get((arm, status))
        if counter is None:
            counter = self._codes[arm, status] = self._requests.labels(arm, str(status))
        counter.inc()

    def found(self, faults: Iterable[tuple[str, str]]) -> None:
        for feature, kind in faults:
            self._faults.labels(feature, kind).inc()

    def text(self) -> bytes:
        import prometheus_client

        return prometheus_client.generate_latest(self.registry)
