"""The release ledger: hash-chained, append-only records, one object each, written by conditional PUT; the head is signed.

What the records mean is `chain`; who decides to write one is the controller, or an operator's command.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from pipelines.objects import ObjectExists, Objects
from pipelines.release.chain import IllegalTransition, Record, State
from pipelines.release.record import Stage
from pipelines.release.signing import Signer
from stacks.errors import UserError
from stacks.outputs import StackOutputs

PREFIX = "ledger/"
HEADS = "ledger-heads/"
GENESIS = "0" * 64
# Each lost race means that another writer wrote; a person and a controller do not lose this many in a row.
RACES = 50


class LedgerBroken(UserError):
    """The chain does not hold: a record was altered, is missing or does not follow."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the release ledger is broken: {what}", "Run `spotforge release verify`; trust no record after it.")


@dataclass(frozen=True)
class Finding:
    """What `verify` saw: how many records hold, up to which digest, and what is wrong (empty when nothing is)."""

    records: int
    head: str
    problems: tuple[str, ...]


@dataclass
class Ledger:
    """The ledger in one bucket. Reads are incremental: a record never changes, so one read before is not fetched again.

    `witness` is another bucket that keeps a copy of each signed head; without a `signer` heads are neither signed nor checked.
    """

    objects: Objects
    witness: Objects | None = None
    signer: Signer | None = None
    _records: list[Record] = field(default_factory=list, init=False, repr=False)
    _head: str = field(default=GENESIS, init=False, repr=False)
    _state: State = field(default_factory=State, init=False, repr=False)

    @classmethod
    def of(cls, outputs: StackOutputs) -> "Ledger":
        """The stack's ledger, with its witness and key: what a writer uses."""
        store, buckets = outputs.object_store, outputs.object_store.buckets
        signer = Signer(outputs.state_dir / "keys") if outputs.state_dir else None
        return cls(Objects(store, buckets.ledger), Objects(store, buckets.artifacts), signer)

    def records(self) -> list[Record]:
        """All records, oldest first. Raises LedgerBroken, or UserError when the store cannot be reached."""
        after = key_of(self._records[-1].seq) if self._records else ""
        for stored in self.objects.list(PREFIX, after=after):
            body = self.objects.get(stored.key)
            record = _parse(stored.key, body)
            if stored.key != key_of(len(self._records)) or record.seq != len(self._records):
                raise LedgerBroken(f"record {len(self._records)} is missing")
            if record.prev != self._head:
                raise LedgerBroken(f"record {record.seq} does not follow record {record.seq - 1}")
            self._take(record, body)
        return list(self._records)

    def replay(self) -> State:
        """Where every release stands now."""
        self.records()
        return self._state

    def production(self) -> str | None:
        return self.replay().production

    def previous_production(self) -> str | None:
        return self.replay().previous

    def in_flight(self) -> str | None:
        return self.replay().in_flight

    def state(self, release: str) -> Stage | None:
        standing = self.replay().standings.get(release)
        return standing.stage if standing else None

    def append(
        self,
        release: str,
        to: Stage,
        *,
        who: str,
        why: str,
        from_: Stage | None,
        weight: int | None = None,
        restores: str | None = None,
        evidence: dict[str, Any] | None = None,
    ) -> Record:
        """Move a release from the stage the caller saw it in. When another writer was first, the ledger is read again.

        Raises IllegalTransition when the move does not follow from what is there by then.
        """
        for _ in range(RACES):
            self.records()
            # Two clocks may differ, but the log's order is the truth: time never runs backwards in it.
            now = max([datetime.now(UTC), *(record.when for record in self._records[-1:])])
            record = Record(
                seq=len(self._records),
                prev=self._head,
                when=now,
                who=who,
                why=why,
                release=release,
                from_=from_,
                to=to,
                weight=weight,
                restores=restores,
                evidence=evidence or {},
            )
            self._state.after(record)
            body = record.model_dump_json(by_alias=True).encode()
            try:
                self.objects.put_new(key_of(record.seq), body)
            except ObjectExists:
                # A PUT that was retried below us may have met its own first try.
                if self.objects.get(key_of(record.seq)) != body:
                    continue
            self._take(record, body)
            self._sign()
            return record
        raise UserError(f"the ledger was written by others {RACES} times in a row", "Try again.")

    def verify(self) -> Finding:
        """Read everything anew and check it: the chain, the moves, the signed heads, and that no object was overwritten."""
        fresh = Ledger(self.objects, self.witness, self.signer)
        problems = []
        try:
            fresh.records()
        except LedgerBroken as error:
            problems.append(error.what)
        try:
            problems += fresh._check_heads()
        except UserError as error:
            problems.append(f"the signed heads cannot be checked: {error.what}")
        problems += [
            f"{key} was overwritten or deleted: the bucket holds {count} versions of it"
            for key, count in self.objects.versions(PREFIX).items()
            if count > 1
        ]
        return Finding(len(fresh._records), fresh._head, tuple(problems))

    def _take(self, record: Record, body: bytes) -> None:
        try:
            self._state = self._state.after(record)
        except IllegalTransition as error:
            raise LedgerBroken(f"record {record.seq}: {error}") from error
        self._records.append(record)
        self._head = hashlib.sha256(body).hexdigest()

    def _check_heads(self) -> list[str]:
        """A signed head of a record that is not there means that the tail was cut off; another digest, that it was altered."""
        problems = []
        highest = -1
        for objects in filter(None, (self.objects, self.witness)):
            key = max((stored.key for stored in objects.list(HEADS)), default=None)
            if key is None:
                continue
            head = json.loads(objects.get(key))
            if not self._signed(head):
                problems.append(f"{objects.bucket}/{key}: the signature does not hold")
                continue
            highest = max(highest, head["seq"])
            if head["seq"] >= len(self._records):
                problems.append(f"the tail is cut off: record {head['seq']} was signed and is not there")
            elif head["digest"] != self._digest(head["seq"]):
                problems.append(f"record {head['seq']} is not the one that was signed")
        if self._records and highest < 0:
            problems.append("no head was ever signed")
        return problems

    def _digest(self, seq: int) -> str:
        return self._records[seq + 1].prev if seq + 1 < len(self._records) else self._head

    def _sign(self) -> None:
        """Sign the newest record's digest and keep the signature in both buckets. A crash before it is healed by the next."""
        if self.signer is None:
            return
        head = {"seq": len(self._records) - 1, "digest": self._head}
        signed = head | {"signature": self.signer.sign(head)}
        for objects in filter(None, (self.objects, self.witness)):
            objects.put(f"{HEADS}{head['seq']:08d}.json", json.dumps(signed).encode())

    def _signed(self, head: dict[str, Any]) -> bool:
        """Raises UserError when there is no key to tell by."""
        if self.signer is None:
            raise UserError("this reader has no signing key", "Verify where the ledger is written.")
        try:
            return self.signer.holds({key: head[key] for key in ("seq", "digest")}, head["signature"])
        except KeyError:
            return False


def key_of(seq: int) -> str:
    """Where the record with this number lies in the ledger bucket."""
    return f"{PREFIX}{seq:08d}.json"


def _parse(key: str, body: bytes) -> Record:
    try:
        return Record.model_validate_json(body)
    except ValidationError as error:
        raise LedgerBroken(f"{key} is not a record") from error
