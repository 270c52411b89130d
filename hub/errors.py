"""The errors of the hub: one root, subclasses that carry what went wrong and where."""


class HubError(Exception):
    """The root of all errors raised in hub."""


class SetupError(HubError):
    """The hub cannot run as asked: `reason` is one sentence for the person who started it."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class BirthError(HubError):
    """A gateway's birth that cannot be taken: `gateway`, and the `reason`."""

    def __init__(self, gateway: str, reason: str):
        super().__init__(f"birth of {gateway}: {reason}")
        self.gateway = gateway
        self.reason = reason


class UnknownAliasError(HubError):
    """A pack speaks of an alias that no birth has announced yet."""

    def __init__(self, gateway: str, incarnation: int, alias: int):
        super().__init__(f"{gateway}, incarnation {incarnation}: alias {alias} is not announced")
        self.gateway = gateway
        self.incarnation = incarnation
        self.alias = alias


class EnrolmentError(HubError):
    """A gateway is not enrolled: `field` of its request is wrong, and the `reason`."""

    def __init__(self, field: str, reason: str):
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class CsrError(EnrolmentError):
    """A certificate signing request that is not signed, and the `reason`."""

    def __init__(self, reason: str):
        super().__init__("csr", f"the certificate signing request is refused: {reason}")


class StoreError(HubError):
    """The store cannot be read or opened: `reason`, as SQLite gives it. It is left as it is."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class DamagedBlockError(StoreError):
    """A sealed block of the store does not hold what was written: `stream`, and the `day`, counted from 1970."""

    def __init__(self, stream: int, day: int):
        super().__init__(f"stream {stream}, day {day}: a block is damaged")
        self.stream = stream
        self.day = day
