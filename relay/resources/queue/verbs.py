"""The verbs for mail as pages offer them: names, meanings, and the IPs that mail can be re-pinned to."""

from relay.domain.directory import SendingIp
from relay.frames.console.errors import NotHere
from relay.frames.console.visit import Visit
from relay.resources.queue.rules import DEEDS, Verb, repin_targets

NO_TARGET = "This is no sending IP that the account's mail can be given."


def verbs_for(visit: Visit) -> list[tuple[str, str]]:
    """What the person may do to mail, and what the buttons say."""
    if not visit.may_change:
        return []
    return [
        (verb.value, deed.button)
        for verb, deed in DEEDS.items()
        if visit.is_operator or not deed.for_operators
    ]


def verb_on(visit: Visit) -> Verb:
    """The one that the path names. Raises NotHere."""
    try:
        return Verb(visit.path("verb"))
    except ValueError:
        raise NotHere from None


def repin_options(visit: Visit, but: str = "") -> list[tuple[str, str]]:
    """The IPs that the account's mail can be given, for a select; without the address `but`."""
    targets = repin_targets(visit.snapshot, visit.account.id)
    return [(ip.address, _described(ip)) for ip in targets if ip.address != but]


def _described(ip: SendingIp) -> str:
    return f"{ip.address} ({ip.hostname}), {'shared' if ip.shared else f'pool {ip.pool}'}"
