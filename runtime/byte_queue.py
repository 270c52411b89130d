"""A queue that is bounded in bytes too: few large messages fill it as many small ones do."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class ByteQueue(asyncio.Queue[_T]):
    """Full with `maxsize` items, or once they take `max_bytes` together; size_of: the bytes of one."""

    def __init__(self, maxsize: int, *, max_bytes: int, size_of: Callable[[_T], int]):
        super().__init__(maxsize)
        self._bytes = 0
        self._max_bytes = max_bytes
        self._size_of = size_of

    def _put(self, item: _T) -> None:
        self._bytes += self._size_of(item)
        super()._put(item)

    def _get(self) -> _T:
        item: _T = super()._get()
        self._bytes -= self._size_of(item)
        return item

    def full(self) -> bool:
        """Whether who puts one in has to wait."""
        return super().full() or self._bytes >= self._max_bytes
