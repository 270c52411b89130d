"""The far side of a gateway under load: takes packs, says much later that they are stored, and counts what came.

It stands where the hub's ingest does, so that the gateway's cost is measured and not the hub's. It is a process of its
own: `python -m bench.parts.receiver DATA PORT [ANSWER_S]`; it prints a JSON object when it is terminated.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from hub.ingest import broker_login
from protocols import cursor, topics
from protocols.custody import STORE, Receiver
from protocols.deflated import inflate
from protocols.pack import decode_body, decode_header
from runtime.mqtt import Session, keep_session

# A gateway commits every 250 ms: so every pack is durable there before it hears that it may go.
_ANSWER_S = 0.6


class Counting:
    """Counts the readings of each pack once, and how old each was at its arrival, in ms."""

    def __init__(self, answer_s: float = _ANSWER_S) -> None:
        self._answer_s = answer_s
        self.points = 0
        self.packs = 0
        self.bytes = 0
        self.ages_ms: Counter[int] = Counter()
        self._receivers: dict[tuple[str, str], Receiver] = {}

    async def serve(self, session: Session) -> None:
        """Take packs until the session ends."""
        await session.subscribe("g/+/up/+", qos=0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._answer(session), name="cursors")
            async for message in session.messages():
                self._take(topics.parse(message.topic), message.payload)

    def _take(self, topic: topics.Topic, payload: bytes) -> None:
        now_ms = time.time_ns() // 1_000_000
        header, end = decode_header(payload)
        receiver = self._receivers.setdefault((topic.sender, topic.lane), Receiver())
        if receiver.offer(header) != STORE:
            return
        receiver.stored(header)
        body = decode_body(inflate(payload[end:]))
        self.packs += 1
        self.bytes += len(payload)
        for column in body.columns:
            self.points += len(column.values)
        for row in body.rows:
            self.points += len(row.values)
            self.ages_ms[now_ms - row.time_ms] += len(row.values)

    async def _answer(self, session: Session) -> None:
        while True:
            await asyncio.sleep(self._answer_s)
            held = {sender: cursor.encode("bench", receiver.cursor()) for sender, receiver in self._receivers.items()}
            await asyncio.sleep(self._answer_s)
            for (gateway, lane), payload in held.items():
                await session.publish(topics.cursor(topics.GATEWAY, gateway, lane), payload, retain=True)


def percentile(counts: Counter[int], share: float) -> int | None:
    """The smallest value that `share` of what was counted does not exceed."""
    left = share * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return None


async def _main(data: Path, port: int, answer_s: float = _ANSWER_S) -> None:
    counting = Counting(answer_s)
    task = asyncio.create_task(
        keep_session(broker_login(data, host="127.0.0.1", port=port), counting.serve), name="receiver"
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, counting.ages_ms.clear)  # the warm-up is over
    with contextlib.suppress(asyncio.CancelledError):
        await task
    result = {
        "points": counting.points,
        "packs": counting.packs,
        "bytes": counting.bytes,
        "p50_ms": percentile(counting.ages_ms, 0.5),
        "p99_ms": percentile(counting.ages_ms, 0.99),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:])))
