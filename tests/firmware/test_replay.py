"""What a device has journalled while it was offline comes to a real gateway in order, once each."""

from bench.parts import replay


def test_half_an_hour_offline() -> None:
    found = replay.measure(0.5)
    assert found.pop("replay_s") > 0
    assert found == {"packs": 180, "twice": 0, "missing": 0, "out_of_order": 0}
