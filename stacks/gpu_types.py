"""NVIDIA instance types on EC2 (x86) and their GPUs: what a pool may name, and how a family expands into types.

Arithmetic over a table; offers and prices are read elsewhere.
"""

# GPUs an instance, from https://docs.aws.amazon.com/ec2/latest/instancetypes/ac.html (accelerated computing). Left out: metal
# (no spot to speak of), g5g (arm64), g6f and gr6f (a fraction of one GPU), p3 (being retired).
_WHOLE = {
    "g4dn": {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "16xlarge": 1, "12xlarge": 4},
    "g5": {
        "xlarge": 1,
        "2xlarge": 1,
        "4xlarge": 1,
        "8xlarge": 1,
        "16xlarge": 1,
        "12xlarge": 4,
        "24xlarge": 4,
        "48xlarge": 8,
    },
    "gr6": {"4xlarge": 1, "8xlarge": 1},
    "p4d": {"24xlarge": 8},
    "p4de": {"24xlarge": 8},
    "p5": {"4xlarge": 1, "48xlarge": 8},
    "p5e": {"48xlarge": 8},
    "p5en": {"48xlarge": 8},
    "p6-b200": {"48xlarge": 8},
    "p6-b300": {"48xlarge": 8},
}
# The g6 families repeat the ladder of g5.
GPUS: dict[str, dict[str, int]] = _WHOLE | {"g6": _WHOLE["g5"], "g6e": _WHOLE["g5"]}


def expand(families: tuple[str, ...], *, gpus: int, sizes: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Instance types of these families that have exactly `gpus` GPUs, in the order given; only `sizes` if any are named.

    Exactly, because Karpenter packs pods onto the fewest nodes: with an 8-GPU type allowed, six one-GPU pods get that one
    machine at many times the price.
    """
    return tuple(
        f"{family}.{size}"
        for family in families
        for size, count in GPUS.get(family, {}).items()
        if count == gpus and (not sizes or size in sizes)
    )
