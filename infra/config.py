"""Pulumi configuration to StackConfig, once, before the first resource. What it may hold is `stacks.schema`."""

import pulumi

from stacks.errors import UserError
from stacks.schema import KEY, StackConfig


def load() -> StackConfig:
    """This stack's configuration. Raises RunError, which Pulumi shows as one line without a traceback."""
    project, _, key = KEY.partition(":")
    source = f"Pulumi.{pulumi.get_stack()}.yaml"
    try:
        value = pulumi.Config(project).get_object(key)
        if value is None:
            raise UserError(f"{source}: config has no key {KEY}", "Add it; stacks/Pulumi.dev.yaml is an example.")
        return StackConfig.parse(value, source)
    except UserError as error:
        raise pulumi.RunError(str(error)) from error
