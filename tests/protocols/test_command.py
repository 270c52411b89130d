"""Commands on the wire: there and back, and whatever comes, only the declared error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.command import (
    DONE,
    EXPIRED,
    FAILED,
    FINAL,
    MAX_BYTES,
    QUEUED,
    REFUSED,
    STARTED,
    Request,
    Result,
    check_step,
    decode_request,
    decode_result,
    encode_request,
    encode_result,
)
from protocols.errors import DecodeError

ids = st.text("ABCxyz019_-", min_size=1, max_size=64)
values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=50)
)
times = st.integers(1, 2**53 - 1)


@given(st.builds(Request, ids, ids, ids, values, times))
def test_requests_round_trip(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


@given(st.builds(Result, ids, st.sampled_from(FINAL), st.text(max_size=300), values, times))
def test_results_round_trip(result: Result) -> None:
    assert decode_result(encode_result(result)) == result


@given(st.binary(max_size=200) | st.just(b"[" * 2000) | st.just(b" " * (MAX_BYTES + 1)))
def test_anything_else_is_refused(data: bytes) -> None:
    for decode in (decode_request, decode_result):
        with pytest.raises(DecodeError):
            decode(data)


GOOD = b'{"key": "k", "thing": "t", "command": "c", "value": 1, "expires_ms": 5}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"k"', b'""'),
        (b'"k"', b'"a b"'),
        (b'"k"', b"7"),
        (b'"t"', b'"' + b"t" * 65 + b'"'),
        (b'"c"', b"null"),
        (b'"value": 1', b'"value": [1]'),
        (b'"value": 1', b'"value": {}'),
        (b'"value": 1', b'"value": NaN'),
        (b'"value": 1', b'"value": -Infinity'),
        (b'"value": 1', b'"value": 1e999'),
        (b'"value": 1', b'"value": 18446744073709551616'),
        (b": 5", b": 0"),
        (b": 5", b": true"),
        (b": 5", b": 5.0"),
        (b": 5", b": 9007199254740992"),
    ],
)
def test_a_request_with_a_mistake_is_refused(old: bytes, new: bytes) -> None:
    decode_request(GOOD)
    with pytest.raises(DecodeError):
        decode_request(GOOD.replace(old, new))


def test_a_command_ends_once_and_starts_only_from_the_queue() -> None:
    allowed = {(QUEUED, STARTED), (QUEUED, REFUSED), (QUEUED, EXPIRED)}
    allowed |= {(STARTED, DONE), (STARTED, REFUSED), (STARTED, FAILED)}
    states = (QUEUED, STARTED, *FINAL)
    for before in states:
        for after in states:
            if (before, after) in allowed:
                check_step(before, after)
            else:
                with pytest.raises(ValueError, match="cannot become"):
                    check_step(before, after)
