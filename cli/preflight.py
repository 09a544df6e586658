"""What is refused before a command writes or starts anything: a folder that is not a stack's, a model that is not there.

What a running stack refuses (ports, databases, disk) is `stacks.local`.
"""

from pathlib import Path

from stacks.errors import UserError
from stacks.local.lock import HOLDER, LOCK

WRITTEN_BY_A_STACK = frozenset({"ports.json", "outputs.json", "seaweedfs.json"})
MARK = "demo"
"""A file in the state folder that says the demo made it, so that a later demo may clear it."""
LEFT_BY_A_COMMAND = frozenset({LOCK, HOLDER, MARK})
"""What a command leaves that was refused before its stack wrote anything. No proof: other programs write such names, too."""


def is_state_folder(place: Path) -> bool:
    """Whether this folder holds nothing, or what only a stack writes."""
    names = {path.name for path in place.iterdir()}
    return names <= LEFT_BY_A_COMMAND or bool(names & WRITTEN_BY_A_STACK)


def refuse_foreign(place: Path) -> None:
    """A slip of the pen in `--home` must not sow a stack in a home directory, for `down --purge` to delete later."""
    if place.is_dir() and not is_state_folder(place):
        raise UserError(f"{place} holds other things than a stack's state", "Name a new or an empty folder with `--home`.")


def model(place: Path | None) -> str:
    """The model package that the next `up` in `place` is to run, found to be whole.

    Without a place only $SPOTFORGE_MODEL counts, not what an earlier stack ran. Raises UserError where it cannot be imported
    or is not whole: every part of the stack would fail of it, each in its own log.
    """
    from pipelines.model import load_model
    from stacks.local import stack

    package = stack.chosen_model(place)
    try:
        load_model(package)
    except UserError:
        raise
    except Exception as error:
        said = f"model package {package!r} cannot be imported ({type(error).__name__}: {error})"
        raise UserError(said, "Mend it, or see docs/bring-your-own-model.md.") from error
    return package
