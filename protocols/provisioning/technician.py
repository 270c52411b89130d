"""The technician's end of provisioning: a step for each message, in this order. After an error it is of no more use."""

from ..errors import OtherDeviceError, RefusedError
from ..hmac_sha256 import same
from .sealed import Channel, Keys
from .wire import ANSWER, CHALLENGE, HELLO, PROOF, VERSION, WRONG_PROOF, decode_challenge, expect, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sealed import Encrypt


class Technician:
    """A session with the device of a label. `nonce`: 16 random bytes, never used before."""

    def __init__(self, device: str, secret: bytes, nonce: bytes, encrypt: "Encrypt"):
        self._device = device
        self._secret = secret
        self._nonce = nonce
        self._encrypt = encrypt
        self._hello = join(HELLO, bytes([VERSION]), nonce)
        self._keys: "Keys | None" = None
        self._channel: "Channel | None" = None

    def hello(self) -> bytes:
        """The first message."""
        return self._hello

    def prove(self, challenge: bytes) -> bytes:
        """Answer the device's challenge.

        Raises OtherDeviceError if it is not the label's device, and RefusedError and DecodeError, as all steps do.
        """
        nonce, device = decode_challenge(expect(CHALLENGE, challenge))
        if device != self._device:
            raise OtherDeviceError(device, self._device)
        self._keys = keys = Keys(self._secret, self._nonce + nonce, self._hello, challenge)
        return join(PROOF, keys.proof(keys.technician))

    def confirm(self, answer: bytes) -> None:
        """Take the device's proof."""
        keys, self._keys = self._keys, None
        proof = expect(ANSWER, answer)
        if keys is None or not same(proof, keys.proof(keys.device)):
            raise RefusedError(WRONG_PROOF)
        self._channel = Channel(keys.technician, keys.device, self._encrypt)

    def seal(self, request: bytes) -> bytes:
        """A request, for the device's eyes only. Raises EncodeError if it is too long."""
        return self._open_channel().seal(request)

    def open(self, message: bytes) -> bytes:
        """The device's result of the last request."""
        channel, self._channel = self._open_channel(), None
        result = channel.open(message)
        self._channel = channel  # only now: what did not check has closed it
        return result

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise RefusedError(WRONG_PROOF)
        return self._channel
