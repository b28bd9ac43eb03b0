"""From: the one mailbox that a message is from, told to readers, to events and to the next hop alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.domain.address import Mailbox, parse_mailbox
from relay.domain.errors import MalformedAddress, NoSender
from relay.mail.budget import Budget
from relay.mail.fields import steps_of
from relay.mail.headers import MAX_TOLD
from relay.mail.mailboxes import Named, one_line, sole_mailbox
from relay.mail.template import Template
from relay.mail.words import mailbox


@dataclass(frozen=True, slots=True)
class Sender:
    """A display name and an address; without a name the address may turn out to be both."""

    name: Template
    email: Template
    fixed: Named | None
    """The mailbox, when it is the same for everybody."""

    def of(self, data: Mapping[str, Any], budget: Budget) -> Named:
        """The one mailbox that it is for the recipient with these values. Raises NoSender, BadTemplate."""
        if self.fixed is not None:
            return self.fixed
        name, email = self.name.render(data, budget), self.email.render(data, budget)
        budget.spend(steps_of("from", name) + steps_of("from", email))
        return sole(name, email)

    def portable(self) -> "Sender":
        """What can be handed to another process."""
        return Sender(self.name.portable(), self.email.portable(), self.fixed)


def sole(name: str, email: str) -> Named:
    """The mailbox of a name and an address, or of an address that holds a name. Raises NoSender."""
    try:
        return (name, parse_mailbox(email.strip())) if name.strip() else sole_mailbox(email)
    except MalformedAddress as error:
        raise NoSender from error


def from_field(name: str, address: Mailbox) -> bytes:
    return b"From: " + mailbox(name, address) + b"\r\n"


def show_sender(name: str, address: Mailbox) -> str:
    """A mailbox for people; a long name is cut, the address is not."""
    name = one_line(name[:MAX_TOLD])
    return f"{name[: MAX_TOLD - len(address.text)]} <{address.text}>" if name else address.text
