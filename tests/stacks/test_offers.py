"""What a region offers, and what is said of a pool that asks for more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks import gpu_types, offers, schema

EVERY = tuple(f"{family}.{size}" for family, sizes in gpu_types.GPUS.items() for size in sizes)
STACKS = tuple(sorted(path.name.split(".")[1] for path in schema.FOLDER.glob("Pulumi.*.yaml")))


@pytest.mark.parametrize("stack", STACKS)
def test_every_machine_of_the_shipped_pools_is_offered_where_they_are(stack: str) -> None:
    config = schema.read(stack)
    for pool in config.gpu_pools:
        for name in pool.instance_types:
            assert offers.zones(config.region, name), f"{pool.name}: {name} is never to be had in {config.region}"


def test_zones_are_of_the_region_and_in_order() -> None:
    assert offers.zones("eu-west-1", "p4d.24xlarge") == ("eu-west-1c",)
    assert offers.zones("eu-west-1", "g6.xlarge") == ()
    assert offers.zones("nowhere", "g6.xlarge") == ()


@given(region=st.sampled_from(offers.regions()), wanted=st.lists(st.sampled_from(EVERY), min_size=1, max_size=6).map(tuple))
def test_a_problem_is_said_exactly_when_a_machine_is_not_offered(region: str, wanted: tuple[str, ...]) -> None:
    said = offers.problem(region, wanted)
    assert (said is None) == all(offers.zones(region, name) for name in wanted)
    if said:
        what, _, move = said.partition("; ")
        assert region in what
        assert move
        assert "\n" not in said
        for other in offers.having(wanted):
            assert offers.problem(other, wanted) is None, "where it sends people, the pool stands"


def test_regions_of_the_same_continent_are_named_first() -> None:
    said = offers.problem("eu-west-1", ("g6.xlarge",))
    assert said is not None
    assert "(eu-central-1, eu-central-2, eu-north-1, eu-south-2)" in said


def test_a_region_that_the_table_does_not_know_is_not_judged() -> None:
    assert offers.problem("xx-new-1", ("g6.xlarge",)) is None
