"""Who is told of mail that has come: the lanes of this process, and other processes."""

from collections.abc import Callable

from relay.domain.ids import Epoch, IpAddress
from relay.egress.worker import Egress
from relay.ports.queue import WakeUps


class NoDepartures:
    """A process without egress: everything goes by the queue, and others are told."""

    def __init__(self, wakeups: WakeUps) -> None:
        self._wakeups = wakeups

    def reserve(self, ip: IpAddress, domain: str, size_bytes: int) -> Epoch | None:
        return None

    def depart(self, ip: IpAddress, domain: str, mail: object) -> None:
        return None

    def queued(self, ip: IpAddress, domain: str, due: object) -> None:
        self._wakeups.tell(ip, domain)


class Everybody:
    """`WakeUps` that tell the lanes of this process too."""

    def __init__(self, others: WakeUps, own: Egress) -> None:
        self._others, self._own = others, own

    def tell(self, ip: IpAddress | None = None, domain: str = "") -> None:
        self._own.heard(ip, domain)
        self._others.tell(ip, domain)

    def hear(self, heard: Callable[[IpAddress | None, str], None]) -> None:
        self._others.hear(heard)
