"""What `kerb bench fuzz` asks of the decoders, with a few random inputs each."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fuzz import TARGETS
from protocols.errors import ProtocolError


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_no_error_but_protocol_error_and_nothing_accepted_wrongly(target: str) -> None:
    check: Callable[[bytes], None] = TARGETS[target]

    @given(st.binary(max_size=200))
    def run(data: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            check(data)

    run()
