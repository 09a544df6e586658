"""The local store's access key: made at random once a state folder, kept in a file only its owner reads."""

import configparser
import secrets
from pathlib import Path

from stacks.errors import UserError
from stacks.outputs import ObjectStore


def ensure(path: Path) -> None:
    """Write new random credentials where there are none."""
    if path.exists():
        return
    body = f"[default]\naws_access_key_id = {secrets.token_hex(10)}\naws_secret_access_key = {secrets.token_urlsafe(30)}\n"
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(body)
    fresh.replace(path)


def read(store: ObjectStore) -> tuple[str | None, str | None]:
    """Access key and secret from the store's credentials file, or (None, None) for the ambient identity."""
    if store.credentials_file is None:
        return None, None
    return read_file(store.credentials_file)


def read_file(path: Path) -> tuple[str, str]:
    """Access key and secret from an AWS credentials file. Raises UserError when they are not there."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        with path.open() as stream:
            parser.read_file(stream)
        section = parser["default"]
        return section["aws_access_key_id"], section["aws_secret_access_key"]
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as error:
        raise UserError(
            f"{path}: no credentials for the object store", "Remove it, and run `spotforge up` to write it anew."
        ) from error
