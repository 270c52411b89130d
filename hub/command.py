"""kerb hub command: tells a gateway to carry out a command, and waits for how it ends."""

import asyncio
import contextlib
import time
from pathlib import Path

from hub.errors import SetupError
from hub.ingest import broker_login
from protocols import topics
from protocols.command import Request, Result, decode_result, encode_request
from protocols.errors import ProtocolError
from runtime.mqtt import Session, keep_session

_AGAIN_S = 2.0  # a gateway that was away meanwhile hears it again; the key keeps it from being done twice
_MARGIN_S = 5.0  # after the expiry, for the result to come


async def send(data: Path, gateway: str, request: Request, *, host: str, port: int) -> Result:
    """The result. Raises SetupError if the gateway has said nothing until the command had expired."""
    found: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    async def serve(session: Session) -> None:
        await session.subscribe(topics.result(topics.GATEWAY, gateway))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_tell(session, gateway, request), name="tell")
            async for message in session.messages():
                with contextlib.suppress(ProtocolError):
                    result = decode_result(message.payload)
                    if result.key == request.key and not found.done():
                        found.set_result(result)

    talking = asyncio.create_task(keep_session(broker_login(data, host=host, port=port), serve), name="command")
    try:
        async with asyncio.timeout(max(0.0, request.expires_ms / 1000 - time.time()) + _MARGIN_S):
            return await found
    except TimeoutError:
        raise SetupError(
            f"{gateway} has not said how the command ended; ask again with --key {request.key}: it is not done twice"
        ) from None
    finally:
        talking.cancel()
        await asyncio.wait((talking,))


async def _tell(session: Session, gateway: str, request: Request) -> None:
    while True:
        await session.publish(topics.command(topics.GATEWAY, gateway), encode_request(request), qos=1)
        await asyncio.sleep(_AGAIN_S)
