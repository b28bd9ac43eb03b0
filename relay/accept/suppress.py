"""What the suppression list does to mail that is being accepted."""

from collections.abc import Mapping
from dataclasses import replace

from relay.domain.directory import Account, Plan
from relay.domain.message import Options
from relay.domain.suppression import Kind, Source, bounce_suppressed, key_of_message
from relay.ports.queue import EnqueueBatch, ListCheck


def kind_asked_of(account: Account, options: Options) -> Kind | None:
    """The kind of mail that the list is asked for; None: it does not matter.

    Enterprise may do without; for others the option says nothing.
    """
    if options.skip_suppression and account.plan is Plan.ENTERPRISE:
        return None
    return Kind.of(options.transactional)


def list_check(account: Account, options: Options) -> ListCheck | None:
    """What the store is to ask of the list."""
    kind = kind_asked_of(account, options)
    return None if kind is None else ListCheck(kind)


def leave_out(batch: EnqueueBatch, found: Mapping[str, str]) -> EnqueueBatch:
    """Without the messages to these recipients: each is accepted and bounces, and never is in the queue.

    found: what the list answered, recipient → source.
    """
    kept, bounces = [], []
    for message in batch.messages:
        source = found.get(key_of_message(message))
        if source is None:
            kept.append(message)
        else:
            bounces.append(bounce_suppressed(message, Source(source), message.accepted))
    check = None if batch.list_check is None else replace(batch.list_check, known=frozenset(found))
    return replace(batch, messages=kept, events=[*batch.events, *bounces], list_check=check)
