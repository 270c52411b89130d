"""The SOS button: what holding and pressing it means, and what never happens by chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.apps.emergency import CALLED, ENDED, NOTHING, WELL, Emergency

LOOK_MS = 20


def press(alarms: Emergency, held_ms: int, begin_ms: int = 0) -> list[int]:
    """All that the button says while it is held so long and let go."""
    said = [alarms.look(True, begin_ms + at) for at in range(0, held_ms, LOOK_MS)]
    said.append(alarms.look(False, begin_ms + held_ms))
    return [each for each in said if each != NOTHING]


@pytest.mark.parametrize(
    ("held_ms", "said"), [(100, [WELL]), (1900, [WELL]), (2100, [CALLED]), (4900, [CALLED]), (20000, [CALLED])]
)
def test_holding_for_two_seconds_calls(held_ms: int, said: list[int]) -> None:
    alarms = Emergency()
    assert press(alarms, held_ms) == said
    assert alarms.sos == (said == [CALLED])


@pytest.mark.parametrize(("held_ms", "said"), [(100, [WELL]), (4900, [WELL]), (5100, [ENDED])])
@pytest.mark.parametrize("alarms", [{"sos": True}, {"fall": True}, {"sos": True, "fall": True}])
def test_only_holding_for_five_seconds_ends_it(alarms: dict[str, bool], held_ms: int, said: list[int]) -> None:
    on = Emergency(**alarms)
    assert press(on, held_ms) == said
    ended = said == [ENDED]
    assert (on.sos, on.fall) == (not ended and alarms.get("sos", False), not ended and alarms.get("fall", False))


def test_the_press_that_called_does_not_end_it() -> None:
    alarms = Emergency()
    press(alarms, 60000)
    assert alarms.sos


@given(st.lists(st.tuples(st.integers(20, 7000), st.integers(40, 3000)), max_size=20), st.booleans())
def test_no_presses_end_an_alarm_but_a_long_one(presses: list[tuple[int, int]], fall: bool) -> None:
    alarms = Emergency(fall=fall)
    now_ms = 0
    for held_ms, pause_ms in presses:
        was_on = alarms.sos or alarms.fall
        said = press(alarms, held_ms, now_ms)
        now_ms += held_ms + pause_ms
        assert len(said) == 1
        assert (said == [ENDED]) == (was_on and held_ms > 5000)
        assert (said == [CALLED]) == (not was_on and held_ms > 2000)
