"""Writes `stacks/data/offers.json` from the answers of `describe-instance-type-offerings` that moto carries for every region.

`python -m tests.gates.offers` says whether the table is what they give; `--write` makes it anew.
"""

import gzip
import importlib.metadata
import json
import sys
from pathlib import Path

from stacks import gpu_types, offers


def table() -> str:
    """The table as the file holds it: GPU types that a pool can name, by region, with the letters of their zones."""
    known = {f"{family}.{size}" for family, sizes in gpu_types.GPUS.items() for size in sizes}
    found: dict[str, dict[str, str]] = {}
    distribution = importlib.metadata.distribution("moto")
    folder = Path(str(distribution.locate_file("moto/ec2/resources/instance_type_offerings/availability-zone")))
    for path in sorted(folder.glob("*.json.gz")):
        region = path.name.removesuffix(".json.gz")
        letters: dict[str, str] = {}
        for offer in json.loads(gzip.decompress(path.read_bytes())):
            if offer["InstanceType"] in known:
                letter = offer["Location"].removeprefix(region)
                letters[offer["InstanceType"]] = "".join(sorted({*letters.get(offer["InstanceType"], ""), letter}))
        found[region] = dict(sorted(letters.items()))
    source = f"describe-instance-type-offerings by region, as carried by moto {distribution.version} (Apache-2.0)"
    return json.dumps({"source": source, "regions": found}, indent=1) + "\n"


def main() -> None:
    if "--write" in sys.argv[1:]:
        offers.TABLE.write_text(table())
    elif offers.TABLE.read_text() != table():
        raise SystemExit("stacks/data/offers.json is not what its source gives: run `python -m tests.gates.offers --write`")


if __name__ == "__main__":
    main()
