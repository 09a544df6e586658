"""Which changes of a Kubernetes object its Pulumi provider makes by a replacement: pure; a hand list, as the provider's is.

A field that the API server holds immutable and that is missing here fails on update, as it does for users.
"""

from typing import Any

_SELECTOR = ("spec.selector",)
_JOB = ("spec.completions", "spec.parallelism", "spec.selector", "spec.template")
_STATEFUL_SET = (
    "spec.podManagementPolicy",
    "spec.revisionHistoryLimit",
    "spec.selector",
    "spec.serviceName",
    "spec.volumeClaimTemplates",
)
# pulumi/pulumi-kubernetes, provider/pkg/provider/diff.go (forceNew), by group and kind; nearly all of a Pod's spec is there.
FORCED: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "StatefulSet"): _STATEFUL_SET,
    ("batch", "Job"): _JOB,
    ("", "ConfigMap"): ("data", "binaryData"),
    ("", "Secret"): ("type", "stringData", "data"),
    ("", "PersistentVolumeClaim"): ("spec",),
    ("", "Pod"): ("spec",),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}
_ALWAYS = ("kind", "metadata.name", "metadata.namespace")
# Provider settings under which the data of these kinds changes in place.
MUTABLE = {"ConfigMap": "enableConfigMapMutable", "Secret": "enableSecretMutable"}


def changes(old: dict[str, Any], new: dict[str, Any]) -> tuple[str, ...]:
    """The top-level inputs that differ."""
    return tuple(sorted(key for key in {*old, *new} if old.get(key) != new.get(key)))


def replaces(old: dict[str, Any], new: dict[str, Any], settings: dict[str, Any]) -> tuple[str, ...]:
    """The changed fields that cannot change in place, dotted."""
    group = str(new.get("apiVersion", "")).rpartition("/")[0]
    kind = str(new.get("kind", ""))
    fields = FORCED.get((group, kind), ())
    if kind in MUTABLE and settings.get(MUTABLE[kind]) in (True, "true") and not new.get("immutable"):
        fields = ("type",)
    return tuple(field for field in (*_ALWAYS, *fields) if _at(old, field) != _at(new, field))


def in_the_way(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether the old object must go before its replacement is made: the same name, given by hand, in the same namespace."""
    return all(_at(old, field) == _at(new, field) for field in _ALWAYS) and not autonamed(new)


def autonamed(inputs: dict[str, Any]) -> bool:
    annotations = _at(inputs, "metadata.annotations")
    return isinstance(annotations, dict) and annotations.get("pulumi.com/autonamed") == "true"


def _at(value: Any, field: str) -> Any:
    for key in field.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
