"""How often a wrong secret may be tried: three times at once, then after 1, 2, 4 ... and at last every 60 seconds.

The waits do not protect the secret, which nobody can guess; they keep a stranger from wearing out the flash. So they
end: who holds the label is never locked out for long. A start begins the wait anew, whole, as the clock began anew too.
"""

_FREE = 3
_FIRST_MS = 1000
_LONGEST_MS = 60000
MOST = 255


class Attempts:
    """The failed attempts since one succeeded, as they were last saved."""

    def __init__(self, failed: int, now_ms: int):
        self._failed = min(max(0, failed), MOST)
        self._last_ms = now_ms

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next attempt may begin."""
        if self._failed < _FREE:
            return 0
        wait_ms = min(_FIRST_MS << min(self._failed - _FREE, 16), _LONGEST_MS)
        return max(0, self._last_ms + wait_ms - now_ms)

    def begin(self, now_ms: int) -> int:
        """An attempt, which counts as failed until it has succeeded; the count to be saved."""
        self._failed = min(self._failed + 1, MOST)
        self._last_ms = now_ms
        return self._failed

    def succeeded(self) -> int:
        """It was the right secret; the count to be saved."""
        self._failed = 0
        return 0
