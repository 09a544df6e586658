"""The key that signs the ledger's heads: made when something is first signed, kept in a file only its owner reads.

What is signed, and what a signature that does not hold means, is `ledger`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacks.errors import UserError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Signer:
    """Ed25519 over canonical JSON, with the key in `folder`."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "ledger.pem"

    def sign(self, content: Mapping[str, Any]) -> str:
        """The signature in hex; makes the key where there is none. Raises UserError when the file holds no such key."""
        if not self.path.exists():
            self._make()
        return self._key().sign(_canonical(content)).hex()

    def holds(self, content: Mapping[str, Any], signature: str) -> bool:
        """Whether `signature` is this key's over `content`. Raises UserError when the key is not there."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key().public_key().verify(bytes.fromhex(signature), _canonical(content))
        except (InvalidSignature, ValueError):
            return False
        return True

    def _key(self) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        try:
            key = serialization.load_pem_private_key(self.path.read_bytes(), password=None)
        except (OSError, ValueError) as error:
            raise UserError(f"the ledger's signing key {self.path} cannot be read", "Put it back.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise UserError(f"{self.path} is not an Ed25519 key", "Put the ledger's signing key back.")
        return key

    def _make(self) -> None:
        """The whole file or nothing; where two processes come at once, the first one's stays."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        body = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_bytes(body)
        try:
            os.link(fresh, self.path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
