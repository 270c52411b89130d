"""Why somebody could not be told."""

from hub.errors import HubError


class DeliveryError(HubError):
    """A notice was not taken: `reason` is one clause; `final`: it never will be, so it is not tried again."""

    def __init__(self, reason: str, *, final: bool = False):
        super().__init__(reason)
        self.reason = reason
        self.final = final
