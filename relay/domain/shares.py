"""How many connections each client holds, over all processes that were forked from one."""

from collections.abc import Sequence

from relay.domain.clients import ClientAddress, Network, party_of

_BITS = 15
_SLOTS = 1 << _BITS
_ROW = 2 * _SLOTS
_OCTETS = 4


def memory_for(workers: int) -> int:
    """Octets that so many workers share."""
    return workers * _ROW * _OCTETS


class Shares:
    """Connections by client address, or /64 of IPv6; bounded memory, whatever the number of addresses.

    Each client counts in two slots of its worker, chosen by a keyed hash; the smaller of the two sums
    over all workers is what it holds. Two that meet in one slot are told apart by the other.
    """

    def __init__(
        self,
        most: int,
        exempt: Sequence[Network] = (),
        memory: memoryview | None = None,
        worker: int = 0,
    ) -> None:
        """memory: zeroes of `memory_for` octets that all workers see; None: this process is the only one.

        worker: its number; what one before it with this number has left counts no more.
        """
        self._most, self._exempt = most, tuple(exempt)
        self._counts = (memory or memoryview(bytearray(memory_for(1)))).cast("B").cast("I")
        self._own = worker * _ROW
        self._counts[self._own : self._own + _ROW] = memoryview(bytearray(_ROW * _OCTETS)).cast("I")

    def take(self, client: ClientAddress) -> bool:
        """Count one more connection; False, and not counted, when the client holds its share already."""
        if self.is_exempt(client):
            return True
        slots = _slots_of(client)
        counts = self._counts
        held = min(sum(counts[row + slot] for row in range(0, len(counts), _ROW)) for slot in slots)
        if held >= self._most:
            return False
        for slot in slots:
            counts[self._own + slot] += 1
        return True

    def give_back(self, client: ClientAddress) -> None:
        """One connection that was taken has ended."""
        if not self.is_exempt(client):
            for slot in _slots_of(client):
                self._counts[self._own + slot] -= 1

    def is_exempt(self, client: ClientAddress) -> bool:
        return any(client in network for network in self._exempt)


def _slots_of(client: ClientAddress) -> tuple[int, int]:
    # Keyed by Python for each start, the same in all that are forked from it: nobody can aim at a slot.
    mixed = hash(str(party_of(client)))
    return mixed & (_SLOTS - 1), _SLOTS + (mixed >> _BITS & (_SLOTS - 1))
