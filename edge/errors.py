"""The errors of the gateway: one root, subclasses that carry what went wrong and where."""


class EdgeError(Exception):
    """The root of all errors raised in edge."""


class ConfigError(EdgeError):
    """A config file or command line that cannot be used."""


class LinkError(EdgeError):
    """A bus, radio or port failed: `link` is its name in the config, `reason` says how."""

    def __init__(self, link: str, reason: str):
        super().__init__(f"{link}: {reason}")
        self.link = link
        self.reason = reason


class DeviceError(LinkError):
    """One device on a link failed while the link itself may be well."""

    def __init__(self, link: str, device: str, reason: str):
        super().__init__(link, f"{device}: {reason}")
        self.device = device


class UpdateError(EdgeError):
    """A firmware image that cannot be offered to devices: the message says why."""


class EnrolError(EdgeError):
    """The gateway cannot be enrolled as asked."""


class AdmissionError(EdgeError):
    """A device is not admitted or revoked as asked: `device` (empty if it is not about one), and the `reason`."""

    def __init__(self, device: str, reason: str):
        super().__init__(f"{device}: {reason}" if device else reason)
        self.device = device
        self.reason = reason


class ProvisionError(EdgeError):
    """A device was not provisioned: `device`, and the `reason` in the person's language."""

    def __init__(self, device: str, reason: str):
        super().__init__(f"{device}: {reason}")
        self.device = device
        self.reason = reason


class IdentityRefused(EdgeError):
    """The hub knows another gateway that has our identity, `gateway`, and was there before us."""

    def __init__(self, gateway: str):
        super().__init__(
            f"the hub refuses us: another gateway is {gateway}, too, and was there before;"
            " enrol one of the two anew, by an id of its own"
        )
        self.gateway = gateway


class ActionRefused(EdgeError):
    """A command to a device was not carried out, and nothing of it was: `thing` and `reason`."""

    def __init__(self, thing: str, reason: str):
        super().__init__(f"{thing}: {reason}")
        self.thing = thing
        self.reason = reason


class ActionFailed(EdgeError):
    """A command to a device did not end well, and something of it may have been done: `thing` and `reason`."""

    def __init__(self, thing: str, reason: str):
        super().__init__(f"{thing}: {reason}")
        self.thing = thing
        self.reason = reason


class Unrecorded(EdgeError):
    """A step of a command cannot be put on disk."""
