"""Ids for what comes into being in this process: each is minted once, however fast."""

from relay.domain.ids import TransmissionId, mint_transmission_id
from relay.ports.ambient import Clock, Entropy

_POOL_OCTETS = 4096


class Ids:
    """Mints ids. Two processes may still meet in one microsecond: the store then says IdTaken."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock, self._entropy = clock, entropy
        self._last = 0
        self._octets = b""
        self._at = 0

    def transmission_id(self) -> TransmissionId:
        """Of the present time; later than all that this process minted before."""
        minted = int(mint_transmission_id(self._clock.now(), self._random(2)))
        self._last = max(minted, self._last + 1)
        return TransmissionId(str(self._last))

    def message_entropy(self) -> bytes:
        """What `mint_message_id` wants."""
        return self._random(4)

    def _random(self, count: int) -> bytes:
        """From a supply: asking the system for each id costs more than the id."""
        if self._at + count > len(self._octets):
            self._octets, self._at = self._entropy.octets(_POOL_OCTETS), 0
        start, self._at = self._at, self._at + count
        return self._octets[start : self._at]
