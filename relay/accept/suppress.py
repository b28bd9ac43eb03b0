"""What the suppression list does to mail that is being accepted."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from relay.accept.copies import Generated
from relay.domain.directory import Account, Plan
from relay.domain.message import Options
from relay.domain.suppression import Kind, Source, key_of_message, suppressed
from relay.ports.queue import ListCheck


def kind_asked_of(account: Account, options: Options) -> Kind | None:
    """The kind of mail that the list is asked for; None: it does not matter.

    Enterprise may do without; for others the option says nothing.
    """
    if options.skip_suppression and account.plan is Plan.ENTERPRISE:
        return None
    return Kind.of(options.transactional)


def list_check(account: Account, options: Options, found: Mapping[str, str]) -> ListCheck | None:
    """What the store is to ask of the list. found: what it answered already, recipient → source."""
    kind = kind_asked_of(account, options)
    return None if kind is None else ListCheck(kind, frozenset(found))


def leave_out(generated: Generated, found: Mapping[str, str], now: datetime) -> Generated:
    """Without the messages to these recipients: each is accepted and bounces, and never is in the queue."""
    kept, bounces = [], []
    for message in generated.messages:
        source = found.get(key_of_message(message))
        if source is None:
            kept.append(message)
        else:
            bounces.append(suppressed(message, Source(source), now))
    return replace(generated, messages=kept, events=[*generated.events, *bounces])
