"""The errors of what comes over a wire: one root, and subclasses that carry what was wrong."""


class ProtocolError(Exception):
    """The root of all errors raised in protocols."""


class DecodeError(ProtocolError):
    """Bytes or text from outside that do not follow their format.

    `subject` names the format ("heart rate measurement"), `reason` what is wrong with it.
    """

    def __init__(self, subject: str, reason: str):
        super().__init__(subject + ": " + reason)
        self.subject = subject
        self.reason = reason


class TruncatedError(DecodeError):
    """The input ends before its last field: `wanted` bytes, `got` bytes."""

    def __init__(self, subject: str, wanted: int, got: int):
        super().__init__(subject, f"needs {wanted} bytes, has {got}")
        self.wanted = wanted
        self.got = got


class ChecksumError(DecodeError):
    """The input's checksum does not match its content."""


class SignatureError(DecodeError):
    """The signature is not one of this key for this message."""


class RefusedError(ProtocolError):
    """Provisioning has ended: `reason` is one of protocols/provisioning/wire.py, `wait_s` when to try again."""

    def __init__(self, reason: str, wait_s: int = 0):
        super().__init__("provisioning refused: " + reason)
        self.reason = reason
        self.wait_s = wait_s


class OtherDeviceError(ProtocolError):
    """Who answers says that it is `device`, and the label is that of `wanted`."""

    def __init__(self, device: str, wanted: str):
        super().__init__("device " + device + " answers in place of " + wanted)
        self.device = device
        self.wanted = wanted


class EncodeError(ProtocolError):
    """A value that the format cannot carry."""

    def __init__(self, subject: str, reason: str):
        super().__init__(subject + ": " + reason)
        self.subject = subject
        self.reason = reason


class RuleError(ProtocolError):
    """An alarm rule that cannot be used: `key` is the path of what is wrong ("rules.0.when.above"), `reason` why."""

    def __init__(self, key: str, reason: str):
        super().__init__(key + ": " + reason)
        self.key = key
        self.reason = reason
