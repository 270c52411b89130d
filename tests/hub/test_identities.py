"""Two gateways of one identity: the first one stays. A gateway that is only started again is never refused."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hub.identities import Identities


def test_the_one_that_comes_back_stays_and_the_other_is_refused() -> None:
    identities = Identities()
    assert [identities.born("gw", each) for each in ("a", "b", "a", "b", "a")] == [[], [], ["b"], [], ["b"]]


def test_of_three_the_first_stays() -> None:
    identities = Identities()
    assert [identities.born("gw", each) for each in ("a", "b", "c", "a")] == [[], [], [], ["b", "c"]]


def test_whom_the_broker_remembers_was_there_first() -> None:
    identities = Identities()
    identities.found("gw", "a")
    assert [identities.born("gw", each) for each in ("b", "a")] == [[], ["b"]]


def test_an_old_memory_of_the_broker_is_no_return() -> None:
    identities = Identities()
    for each in ("a", "b"):
        identities.born("gw", each)
    identities.found("gw", "a")
    assert identities.born("gw", "b") == []


def test_gateways_of_different_identities_do_not_meet() -> None:
    identities = Identities()
    assert not any(identities.born(gateway, "a") for gateway in ("one", "two", "one"))


@given(st.lists(st.integers(1, 4), max_size=60))
def test_no_restart_is_taken_for_a_second_gateway(births: list[int]) -> None:
    """Each instance is born a few times, as devices come and go, and then never again."""
    identities = Identities()
    for instance, times in enumerate(births):
        for _ in range(times):
            assert identities.born("gw", str(instance)) == []


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=40))
def test_of_two_only_the_second_is_ever_refused(births: list[str]) -> None:
    identities = Identities()
    refused = [each for instance in births for each in identities.born("gw", instance)]
    assert births[0] not in refused
    first = births[0]
    returns = any(one != first and other == first for one, other in pairwise(births))
    assert bool(refused) == returns
