"""The whole app within a board's memory: a few minutes of what `kerb bench firmware memory` does for a day."""

import pytest

from bench.parts import memory


@pytest.mark.timeout(400)
@pytest.mark.skipif(not memory.has_wasm(), reason="MicroPython for WebAssembly is not installed (npm)")
def test_the_app_keeps_within_a_boards_heap_and_does_not_grow() -> None:
    found = memory.measure(0.2, wasm_hours=0.01)
    assert found["hours"] == 0.2
    assert found["packs"] > 700
    assert abs(found["heap_drift"]) < 512
    assert 0 < found["peak_kb"] < found["heap_kb"]
