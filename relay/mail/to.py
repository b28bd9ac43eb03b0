"""The field To of what the relay composes: the recipient, or what a client wants shown instead."""

from typing import NamedTuple

from relay.domain.address import Mailbox
from relay.mail.addresses import read_forgivingly, write_addresses
from relay.mail.budget import Budget
from relay.mail.fields import steps_of
from relay.mail.mailboxes import one_line
from relay.mail.words import mailbox


class To(NamedTuple):
    """What one recipient's field To is made of."""

    name: str
    address: Mailbox
    header_to: str = ""
    """What stands there instead, whatever that is."""

    def field(self, budget: Budget) -> bytes:
        """Raises OverBudget."""
        steps = len(self.name)
        if self.header_to:
            steps += steps_of("to", self.header_to)
        budget.spend(steps)
        return b"To: " + self._value() + b"\r\n"

    def _value(self) -> bytes:
        if not one_line(self.header_to):
            return mailbox(self.name, self.address)
        match read_forgivingly(self.header_to):
            case [("", Mailbox() as shown_instead)]:
                return mailbox(self.name, shown_instead)
            case listed:
                return write_addresses(listed)
