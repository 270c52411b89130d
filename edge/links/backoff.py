"""How long to wait before trying again: doubling, bounded, and jittered so that not all gateways come back at once."""

from random import Random


class Backoff:
    """Delays in seconds: the n-th is drawn from the upper half of first_s x 2^n, never above most_s."""

    def __init__(self, *, first_s: float = 0.5, most_s: float = 30.0, random: Random | None = None):
        if not 0 < first_s <= most_s:
            raise ValueError("first_s must be above 0 and not above most_s")
        self._first_s = first_s
        self._most_s = most_s
        self._ceiling_s = first_s
        self._random = random or Random()

    def next_s(self) -> float:
        """The delay before the next attempt."""
        delay_s = self._random.uniform(self._ceiling_s / 2, self._ceiling_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._most_s)
        return delay_s

    def reset(self) -> None:
        """Begin anew, after an attempt that went well."""
        self._ceiling_s = self._first_s
