"""What every part of a stack's configuration is made of: the base model and the text formats that several parts use.

No key of the configuration stands here.
"""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from stacks.refusal import refuse


class Part(BaseModel):
    """Frozen, strict, camelCase in YAML, and no key but those that exist."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)


def _network(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError as error:
        raise refuse(f"{text!r} is no IPv4 network ({error}); write it like 10.20.0.0/16") from error
    return text


Label = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,28}[a-z0-9])?$")]
"""A DNS label that leaves room for a prefix and a suffix in the 63 characters of a Kubernetes name."""
Duration = Annotated[str, Field(pattern=r"^(([0-9]+(s|m|h))+|Never)$")]
Cidr = Annotated[str, AfterValidator(_network)]
RoleArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$")]
Domain = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]{2,}$")]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]
Image = Annotated[str, Field(pattern=r"^[^@\s]+@sha256:[0-9a-f]{64}$")]
"""An image by digest: a tag can be moved, a digest cannot."""
InstanceType = Annotated[str, Field(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")]


def overlap(one: str, other: str) -> bool:
    """Whether two IPv4 networks share an address."""
    return ipaddress.IPv4Network(one).overlaps(ipaddress.IPv4Network(other))
