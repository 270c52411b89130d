"""The device's end of provisioning: messages in, actions out, to be carried out in their order.

(SAVE, count)       the failed attempts, which must be durable before the next action
(SEND, message)
(REQUEST, body)     from who has proven to know the secret; `answer` gives what is to be sent when it is done
(CLOSED, reason)    the session has ended; for the log
"""

from ..errors import DecodeError, RefusedError
from ..hmac_sha256 import same
from .attempts import Attempts
from .sealed import Channel, Keys
from .wire import (
    ANSWER,
    CHALLENGE,
    DAMAGED,
    HELLO,
    OTHER_VERSION,
    OUT_OF_TURN,
    PROOF,
    REFUSED,
    SEALED,
    VERSION,
    WAIT,
    WRONG_PROOF,
    encode_refused,
    join,
    split,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .sealed import Encrypt

    Action = tuple[str, Any]

SAVE, SEND, REQUEST, CLOSED = "save", "send", "request", "closed"


class Device:
    """One line on which a technician may call. `failed`: as was last saved; `nonce()`: 16 bytes, random each time."""

    def __init__(
        self,
        device: str,
        secret: bytes,
        nonce: "Callable[[], bytes]",
        encrypt: "Encrypt",
        *,
        failed: int,
        now_ms: int,
    ):
        self._device = device
        self._secret = secret
        self._nonce = nonce
        self._encrypt = encrypt
        self._attempts = Attempts(failed, now_ms)
        self._keys: "Keys | None" = None  # while a proof is awaited
        self._channel: "Channel | None" = None  # from then on
        self._asked = False  # a request has not been answered yet

    def receive(self, message: bytes, now_ms: int) -> "list[Action]":
        """Take a message, on a clock that never steps."""
        try:
            kind, rest = split(message)
            if kind == HELLO:  # also in mid-session: a technician may begin anew
                return [(SEND, self._challenge(message, rest, now_ms))]
            if kind == REFUSED:
                return self.close("the technician's side has ended it")
            if kind == PROOF:
                return self._judge(rest, now_ms)
            if kind == SEALED:
                return [(REQUEST, self._request(message))]
            raise RefusedError(OUT_OF_TURN)
        except DecodeError as error:
            return [(SEND, encode_refused(DAMAGED))] + self.close(str(error))
        except RefusedError as error:
            return [(SEND, encode_refused(error.reason, error.wait_s))] + self.close(str(error))

    def answer(self, result: bytes) -> bytes:
        """The message that tells the result of the last request. Raises RefusedError if none is open; EncodeError."""
        if self._channel is None or not self._asked:
            raise RefusedError(OUT_OF_TURN)
        self._asked = False
        return self._channel.seal(result)

    def close(self, reason: str) -> "list[Action]":
        """Forget the session, if there is one: the line was lost, or nobody spoke for too long."""
        self._keys = self._channel = None
        self._asked = False
        return [(CLOSED, reason)]

    def _challenge(self, hello: bytes, rest: bytes, now_ms: int) -> bytes:
        self._keys = self._channel = None
        self._asked = False
        if rest[0] != VERSION:
            raise RefusedError(OTHER_VERSION)
        wait_ms = self._attempts.wait_ms(now_ms)
        if wait_ms:
            raise RefusedError(WAIT, -(-wait_ms // 1000))
        nonce = self._nonce()
        challenge = join(CHALLENGE, nonce, self._device.encode())
        self._keys = Keys(self._secret, rest[1:] + nonce, hello, challenge)
        return challenge

    def _judge(self, proof: bytes, now_ms: int) -> "list[Action]":
        """Count the attempt, whatever becomes of it: who cuts the power in time has still used it up."""
        keys, self._keys = self._keys, None
        if keys is None:
            raise RefusedError(OUT_OF_TURN)
        actions: "list[Action]" = [(SAVE, self._attempts.begin(now_ms))]
        if not same(proof, keys.proof(keys.technician)):
            error = RefusedError(WRONG_PROOF)
            return actions + [(SEND, encode_refused(WRONG_PROOF))] + self.close(str(error))
        self._channel = Channel(keys.device, keys.technician, self._encrypt)
        return actions + [(SAVE, self._attempts.succeeded()), (SEND, join(ANSWER, keys.proof(keys.device)))]

    def _request(self, message: bytes) -> bytes:
        if self._channel is None or self._asked:
            raise RefusedError(OUT_OF_TURN)
        body = self._channel.open(message)
        self._asked = True
        return body
