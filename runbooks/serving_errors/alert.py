"""ServingErrors: callers of the gateway get errors. The rule, its reasons, and what its runbook may touch."""

from runbooks.model import Access, Alert, Part

# The error budget of a 99.9 % monthly objective burns ten times too fast at 1 %: gone in three days. Below it a canary of 5 %
# that fails one request in five goes unseen here, which is meant: the release controller judges it by its own test.
ERROR_SHARE = 0.01
GATEWAY = 'envoy_http_conn_manager_prefix="gateway"'

ALERT = Alert(
    name="ServingErrors",
    expr=(
        f'sum(rate(envoy_http_downstream_rq_xx{{{GATEWAY},envoy_response_code_class="5"}}[5m]))'
        f" / sum(rate(envoy_http_downstream_rq_completed{{{GATEWAY}}}[5m])) > {ERROR_SHARE}"
    ),
    hold="2m",
    severity="page",
    summary="{{ $value | humanizePercentage }} of prediction requests are answered with an error",
    threshold=(
        f"{ERROR_SHARE:.0%} spends the monthly budget of a 99.9 % objective in three days; five minutes of rate and two of"
        " holding keep a single restart of a server from paging."
    ),
    normal="0 %: no release switch loses a request.",
    false_positive="A caller that floods the gateway before the first release: 503 is then the right answer.",
    pairs_with=("`spotforge status`", "`spotforge release list`"),
)
NEEDS = Access(
    read=(Part.GATEWAY_STATISTICS, Part.MODEL_SERVERS, Part.RELEASE_LEDGER),
    write=(Part.MODEL_SERVERS, Part.RELEASE_LEDGER),
)
