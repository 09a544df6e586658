"""What the demo's acts stand on: the platform as seen from outside, waiting with a live line, and the record of what was seen.

No act of the story is here; it starts nothing but what an act asks for.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from cli.demo.watch import Dagster, Run
from cli.demo.world import World
from pipelines.data import landing
from pipelines.model import Model, load_model
from pipelines.monitoring import decisions
from pipelines.objects import ObjectMissing, Objects
from pipelines.release.chain import Record
from pipelines.release.ledger import Ledger
from pipelines.release.record import Release, Stage, load
from pipelines.tables import Tables
from stacks.errors import UserError
from stacks.outputs import StackOutputs

POLL_S = 0.4
PATIENCE_S = 150.0
"""The slowest single wait of the story is a whole release under full traffic, some 60 s; past this it is stuck."""
T = TypeVar("T")


@dataclass(frozen=True)
class Beat:
    """One line of the story: when (seconds since the start), in which act, which part of the platform, what it found."""

    at: float
    act: int
    part: str
    text: str

    @property
    def plain(self) -> str:
        """The text without console markup."""
        return Text.from_markup(self.text).plain


@dataclass
class Scene:
    """The scenery of one demo run."""

    console: Console
    outputs: StackOutputs
    began: float
    beats: list[Beat] = field(default_factory=list)
    act: int = 0
    seen_records: int = 0
    month_rows: list[dict[str, Any]] = field(default_factory=list)
    bad_release: str | None = None
    reclaimed_training: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        store, buckets = self.outputs.object_store, self.outputs.object_store.buckets
        self.model: Model = load_model(self.outputs.model)
        self.tables = Tables(self.outputs)
        self.data, self.artifacts, self.ledger_bucket = (
            Objects(store, b) for b in (buckets.data, buckets.artifacts, buckets.ledger)
        )
        self.ledger = Ledger.of(self.outputs)
        self.dagster = Dagster(self.outputs.orchestration.url)
        self.world = World(self.model, self.tables, self.outputs.gateway.url)

    def open_act(self, number: int, title: str) -> None:
        self.act = number
        self.console.print(f"\n[bold cyan]{number}. {title}[/]")

    def say(self, part: str, text: str) -> None:
        """Tell what a part of the platform did. `text` may hold markup; what others wrote must be escaped."""
        at = time.monotonic() - self.began
        self.beats.append(Beat(at, self.act, part, text))
        self.console.print(f"   [dim]{at:6.1f} s[/]  [green]{part:<18}[/] {text}", highlight=False)

    def wait(self, what: str, look: Callable[[], T | None], *, patience: float = PATIENCE_S) -> T:
        """Poll `look` until it gives something; meanwhile tell what the ledger says. Raises UserError when too long."""
        deadline = time.monotonic() + patience
        with self.console.status(f"{what} …"):
            while True:
                self.narrate()
                found = look()
                if found is not None:
                    return found
                if time.monotonic() > deadline:
                    raise UserError(
                        f"waited {patience:.0f} s in vain for: {what}", "See `spotforge status` and the Dagster UI."
                    )
                time.sleep(POLL_S)

    def narrate(self) -> None:
        """Tell every ledger record that is new; traffic is dense while a release is in flight."""
        records = self.ledger.records()
        for record in records[self.seen_records :]:
            self.say("release controller" if record.who != "dagster" else "dagster", describe(record))
        self.seen_records = len(records)
        self.world.dense = self.ledger.in_flight() is not None

    def production(self) -> Release | None:
        identity = self.ledger.production()
        return load(self.ledger_bucket, identity) if identity else None

    def deliver(self, partition: str, frames: Any) -> landing.Delivery:
        delivery = landing.deliver(self.data, partition, frames)
        rows = ", ".join(f"{frame.height:,} {name}" for name, frame in frames.items())
        self.say("landing zone", f"{partition} delivered ({rows})")
        return delivery

    def processed(self, delivery: landing.Delivery) -> Run:
        """The finished `process_month` run of a delivery, whatever its outcome."""
        marker = f"{delivery.partition}/{delivery.number}"

        def look() -> Run | None:
            runs = self.dagster.runs("process_month")
            return next((run for run in runs if run.tags.get("spotforge/delivery") == marker and run.done), None)

        return self.wait(f"Dagster works on {marker}", look)

    def training_runs(self) -> list[Run]:
        return self.dagster.runs("train_and_release")

    def record(self, asset: str, partition: str | None = None) -> dict[str, Any] | None:
        """What an asset handed on last."""
        try:
            content: dict[str, Any] = json.loads(
                self.artifacts.get(f"records/{asset}{f'/{partition}' if partition else ''}.json")
            )
        except ObjectMissing:
            return None
        return content

    def decisions(self) -> list[dict[str, Any]]:
        """Every retraining decision, oldest first."""
        return decisions.read(self.ledger_bucket)


def describe(record: Record) -> str:
    """A ledger record as a line for people."""
    weight = f" {record.weight} %" if record.weight is not None and record.to == Stage.CANARY else ""
    back = f", {record.restores} serves again" if record.restores else ""
    return f"[bold]{record.release}[/] → [bold]{record.to}{weight}[/]{back}: {escape(record.why)}"
