"""Who is who among gateways of one identity: the second one is refused. No I/O, no clock.

Two gateways with one identity (a copied card, a restored image) throw each other out of the broker in turn, since they
share a client id. A gateway that is merely started again never comes back as the instance that it was before. So an
instance that is born anew after another one is the proof that there are two; it was here first, and stays.
"""

_REMEMBERED = 8  # instances of a gateway: as many may take turns


class Identities:
    """The instances of each gateway, in the order of their first births."""

    def __init__(self) -> None:
        self._instances: dict[str, list[str]] = {}

    def found(self, gateway: str, instance: str) -> None:
        """A retained birth: it tells who was here last, if nobody has been heard since."""
        self._instances.setdefault(gateway, [instance])

    def born(self, gateway: str, instance: str) -> list[str]:
        """A birth that was sent now. Returns the instances that are to be refused: those that came after this one."""
        known = self._instances.setdefault(gateway, [])
        if instance in known:
            later = known[known.index(instance) + 1 :]
            del known[len(known) - len(later) :]
            return later
        known.append(instance)
        del known[:-_REMEMBERED]
        return []
