"""The verbs for mail as pages offer them: names, meanings, and the IPs that mail can be re-pinned to."""

from collections.abc import Mapping

from relay.domain.directory import SendingIp
from relay.frames.console.errors import NotHere
from relay.frames.console.visit import Visit
from relay.resources.queue.rules import Verb, repin_targets

TITLES: Mapping[Verb, str] = {
    Verb.HOLD: "Hold messages",
    Verb.RELEASE: "Release messages",
    Verb.RETRY: "Retry messages now",
    Verb.CANCEL: "Cancel messages",
    Verb.REPIN: "Re-pin messages",
}
MEANINGS: Mapping[Verb, str] = {
    Verb.HOLD: (
        "No further attempt is made until the mail is released. Its expiry waits meanwhile, but a hold has "
        "an end of its own. Mail in flight finishes its conversation first and is held if it comes back."
    ),
    Verb.RELEASE: "The hold ends: the mail is due at once, and the time it was held is added to its expiry.",
    Verb.RETRY: "Waiting mail becomes due now instead of when its turn would come.",
    Verb.CANCEL: (
        "The mail ends without delivery: each message becomes a bounce of class 25, Admin Failure. "
        "This cannot be undone. Mail in flight is only stopped if it comes back."
    ),
    Verb.REPIN: (
        "Waiting mail gets another sending IP, for all attempts to come. It is the only way in which a pin "
        "ever changes, and each message remembers who did it. Mail in flight is left alone."
    ),
}
NO_TARGET = "This is no sending IP that the account's mail can be given."


def verbs_for(visit: Visit) -> list[tuple[str, str]]:
    """What the person may do to mail, and what the buttons say."""
    if not visit.may_change:
        return []
    listed = [(Verb.HOLD.value, "Hold"), (Verb.RELEASE.value, "Release"), (Verb.RETRY.value, "Retry now")]
    listed.append((Verb.CANCEL.value, "Cancel"))
    return [*listed, (Verb.REPIN.value, "Re-pin…")] if visit.is_operator else listed


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
