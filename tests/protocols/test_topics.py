"""Topics and the cursor message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import cursor, refusal, topics
from protocols.errors import DecodeError, ProtocolError


def test_topics_there_and_back():
    assert topics.parse(topics.up("g", "gw-1", "bulk")) == ("g", "gw-1", "up", "bulk")
    assert topics.parse(topics.cursor("d", "w_1", "urgent")) == ("d", "w_1", "cursor", "urgent")
    assert topics.parse(topics.birth("d", "w_1")) == ("d", "w_1", "birth", "")


@pytest.mark.parametrize(
    "topic",
    ["", "d", "d/x", "x/a/birth", "d/a b/birth", "d/a/up", "d/a/up/slow", "d/a/birth/bulk", "d//birth", "d/a/b/c/d"],
)
def test_other_topics_are_refused(topic):
    with pytest.raises(ProtocolError):
        topics.parse(topic)


def test_ids():
    assert topics.is_id("a-Z_9")
    for wrong in ("", "a.b", "a/b", "表", "a" * 65, "a b"):
        assert not topics.is_id(wrong)


@given(st.text(max_size=20), st.dictionaries(st.integers(0, 2**52 - 1), st.integers(0, 2**53)))
def test_cursor_there_and_back(session, stored):
    assert cursor.decode(cursor.encode(session, stored)) == (session, stored)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"session":1,"epochs":{}}', b'{"session":"a","epochs":{"x":1}}', b"\xff",
             b'{"session":"a","epochs":{"1":-1}}', b'{"session":"a","epochs":{"1":"1"}}',
             b'{"session":"a","epochs":[]}', b"[" * 60_000]
)  # fmt: skip
def test_what_is_no_cursor_is_refused(data):
    with pytest.raises(DecodeError):
        cursor.decode(data)


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), max_size=8))
def test_refusal_there_and_back(instances):
    assert refusal.decode(refusal.encode(instances)) == instances
