"""What the messages of one transmission are made with, and what is filled in for each recipient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.accept.copies import path_at, reverse_path
from relay.accept.sign import Signing, signing_of, usable_domain
from relay.domain.address import Mailbox, comparable_domain
from relay.domain.directory import Account, Check, Plan, Principal, Snapshot
from relay.domain.message import Submission
from relay.domain.retry import RetryPolicy
from relay.domain.transmission import Content, Recipient, Transmission, Verdict
from relay.mail.compose import RETURN_PATH, Blueprint
from relay.mail.headers import MAX_TOLD
from relay.mail.sender import show_sender
from relay.mail.to import To


@dataclass(frozen=True, slots=True)
class Plant:
    """What the messages of one transmission are made with. Held while it is being generated."""

    transmission: Transmission
    content: Content
    blueprint: Blueprint
    verdict: Verdict
    account: Account
    snapshot: Snapshot
    signing: Signing | None
    """Of messages that all have the same From."""
    policy: RetryPolicy
    hostname: str
    max_message_bytes: int
    """Of what is composed; what the relay adds is not counted."""

    @property
    def principal(self) -> Principal:
        return Principal(self.transmission.account, self.transmission.subaccount)

    def signing_of(self, sender: Mailbox) -> Signing | None:
        """Who signs the message with that From."""
        if self.blueprint.sender.fixed is not None:
            return self.signing
        return signing_of(self.snapshot, self.principal, sender.domain, self.verdict.decision.pool)

    def return_path(self, asked: str, sender: str) -> str:
        """As events tell it and DSNs go to: the one asked for, or the sender where it may not be.

        Enterprise accounts may have any, others one at a domain whose bounces come here.
        """
        if not asked or self.account.plan is Plan.ENTERPRISE or self._takes_bounces(domain_of(asked)):
            return asked or sender
        return sender

    def mail_from(self, asked: str, sender: str) -> str:
        """The reverse-path that the next hop sees."""
        transmission, account = self.transmission, self.account
        if not asked or self.return_path(asked, "") != asked:
            return reverse_path(account, transmission.subaccount, sender, transmission.id)
        if account.plan is Plan.ENTERPRISE:
            return asked
        return path_at(domain_of(asked), account, transmission.subaccount, transmission.id)

    def _takes_bounces(self, domain: str) -> bool:
        entry = usable_domain(self.snapshot, self.principal, domain)
        is_verified = entry is not None and entry.cname_status is Check.VALID
        return is_verified or domain == self.account.bounce_domain

    def submission(self) -> Submission:
        """What events tell of all its messages: what substitution changes is told of each."""
        transmission, blueprint = self.transmission, self.blueprint
        sender = blueprint.sender.fixed
        address = "" if sender is None else sender[1].text
        return Submission(
            id=transmission.id,
            account=transmission.account,
            subaccount=transmission.subaccount,
            accepted=transmission.accepted,
            recv_method="rest",
            remote_addr=transmission.remote_addr,
            mail_from=self.return_path(transmission.return_path, address),
            subject=blueprint.subject.source[:MAX_TOLD] if blueprint.subject.is_constant else "",
            friendly_from="" if sender is None else show_sender(*sender),
            sending_domain="" if sender is None else sender[1].domain,
            options=transmission.options,
            decision=self.verdict.decision,
        )


def values_of(plant: Plant, recipient: Recipient) -> Mapping[str, Any]:
    """What is particular goes before what is common, substitution data before metadata.

    Where the return path is a sender that is filled in, it is empty: `Blueprint.fill` knows it.
    """
    if plant.blueprint.is_constant:
        return {}
    transmission, sender = plant.transmission, plant.blueprint.sender.fixed
    asked = recipient.return_path or transmission.return_path
    common = {**transmission.options.metadata, **transmission.substitution_data}
    return {
        **common,
        **recipient.metadata,
        **recipient.substitution_data,
        **reserved_names(
            recipient, plant.return_path(asked, "" if sender is None else sender[1].text), common
        ),
    }


def to_of(plant: Plant, recipient: Recipient) -> To | None:
    """What makes the field To for that recipient; None: the client wrote one."""
    if recipient.header_to or "to" not in plant.blueprint.names:
        return To(recipient.name, recipient.mailbox, recipient.header_to)
    return None


def domain_of(address: str) -> str:
    return comparable_domain(address.rpartition("@")[2])


def reserved_names(recipient: Recipient, return_path: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """The names that the relay fills in itself."""
    email = recipient.mailbox.text
    given = recipient.substitution_data.get("address", data.get("address"))
    address = {**(given if isinstance(given, dict) else {}), "name": recipient.name, "email": email}
    return {
        "address": address,
        "email": email,
        "email_id": email,
        **dict.fromkeys(RETURN_PATH, return_path),
    }
