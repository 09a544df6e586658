"""`spotforge up`: the local stack, ready. What the parts are is `stacks.local`."""

import time
from pathlib import Path

from cli import preflight
from cli.console import HOME, JSON, PORT_BASE, emit, home_of


def run(
    home: Path | None = HOME,
    port_base: int | None = PORT_BASE,
    as_json: bool = JSON,
) -> None:
    """Bring the local stack up and wait until every part has answered its probe.

    What lives is kept, what is dead is started, what an earlier run left behind is ended; it says which.

    Example: spotforge up && spotforge status
    """
    from rich.console import Console

    from stacks.local import lock, stack

    place = home_of(home)
    console = Console(stderr=True)
    began = time.monotonic()

    def said(part: str, word: str) -> None:
        console.print(f"  {time.monotonic() - began:5.1f} s  {part:<20} {word}", markup=False, highlight=False, soft_wrap=True)

    preflight.refuse_foreign(place)
    model = preflight.model(place)
    with lock.held(place, "up"):
        outputs = stack.up(place, port_base=port_base, model=model, progress=said)
    if as_json:
        emit(outputs.model_dump(mode="json", by_alias=True))
        return
    where = f"Dagster {outputs.orchestration.url}, MLflow {outputs.tracking.uri}, gateway {outputs.gateway.url}"
    console.print(f"Up in {time.monotonic() - began:.1f} s. {where}", markup=False, highlight=False, soft_wrap=True)
