"""The errors of the firmware: one root, subclasses that carry what went wrong and where."""


class FirmwareError(Exception):
    """The root of all errors raised in firmware."""


class ConfigError(FirmwareError):
    """The device's config cannot be used: `key` names the entry, `reason` says why."""

    def __init__(self, key: str, reason: str):
        super().__init__(f"config: {key}: {reason}")
        self.key = key
        self.reason = reason


class DriverError(FirmwareError):
    """A chip does not answer, or is another one: `chip` is its name, `address` its place on a bus, if it is on one."""

    def __init__(self, chip: str, address: "int | None", reason: str):
        super().__init__(f"{chip}: {reason}" if address is None else f"{chip} at 0x{address:02x}: {reason}")
        self.chip = chip
        self.address = address
        self.reason = reason


class JournalError(FirmwareError):
    """The journal cannot keep a record: `reason` says why."""

    def __init__(self, reason: str):
        super().__init__("journal: " + reason)
        self.reason = reason


class MqttError(FirmwareError):
    """The broker, or the line to it, failed or broke the protocol: `reason` says how."""

    def __init__(self, reason: str):
        super().__init__("mqtt: " + reason)
        self.reason = reason


class PlanError(FirmwareError):
    """A medication plan is refused: `reason` says why, in one word or two."""

    def __init__(self, reason: str):
        super().__init__("medication plan: " + reason)
        self.reason = reason


class UpdateError(FirmwareError):
    """An update is refused, or cannot be applied: `reason` says why."""

    def __init__(self, reason: str):
        super().__init__("update: " + reason)
        self.reason = reason


class RegisterError(FirmwareError):
    """A Modbus register is not there (code 2), or does not take this value (code 3)."""

    def __init__(self, address: int, code: int):
        super().__init__(f"register {address}: exception {code}")
        self.address = address
        self.code = code


class LineError(FirmwareError):
    """Who spoke on a line is gone, or said what cannot be followed: `line` names it, `reason` says why."""

    def __init__(self, line: str, reason: str):
        super().__init__(line + ": " + reason)
        self.line = line
        self.reason = reason
