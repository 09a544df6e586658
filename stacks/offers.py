"""Which GPU machines AWS offers in which region and zone, from a table; and what is wrong with asking for others.

What the machines are is `stacks.gpu_types`. A zone's letter is another building in another account: only a hint.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path

TABLE = Path(__file__).resolve().parent / "data" / "offers.json"
"""`{source, regions: {region: {instance type: zone letters}}}`; `tests.gates.offers` writes it from the source it names."""

# A line that is read, not a list that is searched.
NAMED = 4


@functools.cache
def _regions() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(TABLE.read_text())["regions"]
    return found


def regions() -> tuple[str, ...]:
    """Every region that the table knows, those without a GPU too."""
    return tuple(sorted(_regions()))


def zones(region: str, instance_type: str) -> tuple[str, ...]:
    """Zones of the region that offer the type, as the table's source saw them; none where it is not offered."""
    return tuple(f"{region}{letter}" for letter in _regions().get(region, {}).get(instance_type, ""))


def having(instance_types: Iterable[str]) -> tuple[str, ...]:
    """Regions that offer every one of these types."""
    wanted = set(instance_types)
    return tuple(region for region in regions() if wanted <= set(_regions()[region]))


def problem(region: str, instance_types: tuple[str, ...]) -> str | None:
    """What is wrong with a pool of these types in this region, `<what>; <what to do>`, or None.

    A type that is not offered makes a pool look broader than it is: its spot capacity is never there.
    """
    if region not in _regions():
        return None
    offered = [name for name in instance_types if zones(region, name)]
    missing = sorted({name.partition(".")[0] for name in instance_types if name not in offered})
    if not missing:
        return None
    # Those of the same continent first: `eu-north-1` before `us-east-1` for who asked in `eu-west-1`.
    continent = region.partition("-")[0]
    elsewhere = sorted(having(instance_types), key=lambda other: (not other.startswith(f"{continent}-"), other))
    move = f"take a region that has them all ({', '.join(elsewhere[:NAMED])})" if elsewhere else "take another region"
    if not offered:
        return f"{region} offers none of {', '.join(missing)}; {move}"
    return f"{region} does not offer {', '.join(missing)} in the sizes asked for; drop them, or {move}"
