"""How many octets of message bodies this process may hold in memory at once."""


class BodyBudget:
    """A count of octets taken and given back. Over the total, mail waits outside (452 4.3.1)."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.taken_bytes = 0

    @property
    def room_bytes(self) -> int:
        return max(0, self.total_bytes - self.taken_bytes)

    def take(self, size_bytes: int) -> bool:
        """Whether there was room; if so it is taken."""
        if self.taken_bytes + size_bytes > self.total_bytes:
            return False
        self.taken_bytes += size_bytes
        return True

    def count(self, size_bytes: int) -> None:
        """Take without asking: for what is in memory already. Others find less room."""
        self.taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        self.taken_bytes -= size_bytes
