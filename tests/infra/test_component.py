"""The base component's promise: what is annotated is registered."""

import pulumi
import pytest

from infra.component import Component
from infra.plan import record


class _Whole(Component):
    address: pulumi.Output[str]

    def __init__(self) -> None:
        super().__init__("whole")
        self.address = pulumi.Output.from_input("here")
        self.done()


class _Forgetful(Component):
    address: pulumi.Output[str]

    def __init__(self) -> None:
        super().__init__("forgetful")
        self.done()


def test_annotated_outputs_are_registered_under_the_components_token() -> None:
    recording = record(_Whole)
    (component,) = recording.of("spotforge:infra:_Whole").values()
    assert recording.outputs[component.urn] == {"address": "here"}


def test_a_forgotten_output_fails_in_the_component_itself() -> None:
    with pytest.raises(AttributeError, match="address"):
        record(_Forgetful)
