"""The line at a small count; and who a gateway is: one that is replaced, and two that say they are the same."""

import pytest

from bench.faults import measure
from bench.parts.campaign import campaign
from bench.parts.faults.network import replace_gateway, second_gateway
from hub.store.querying import Querying


@pytest.mark.timeout(180)
def test_faults_of_the_line() -> None:
    result = measure("network", 6, seed=3)
    assert sum(result["faults"].values()) == 6
    assert result["missing"] == result["duplicates"] == result["declared_lost"] == 0


@pytest.mark.timeout(240)
async def test_a_gateway_that_is_replaced_and_a_second_one_of_the_same_identity() -> None:
    async with campaign(seed=1) as under:
        await under.recovered()
        await replace_gateway(under)
        await under.recovered()
        twin = await second_gateway(under)
        assert under.lab.status()["uplink"]["refusals"] == 0
        assert "the hub refuses us: another gateway is block-gateway, too" in under.lab.tail(twin)
        assert Querying(under.lab.hub_data).counters()["instances_refused"] >= 1
        await under.recovered()
    assert under.result["missing"] == under.result["duplicates"] == under.result["declared_lost"] == 0
