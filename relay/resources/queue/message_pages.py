"""One message: what it is, where it stands, why it leaves from that IP, and all that happened to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from starlette.responses import Response

from relay.domain.classify import CLASS_NAMES
from relay.domain.directory import Snapshot
from relay.domain.errors import UnknownObject
from relay.domain.events import Attempt, Delay, Event, Failure, Injection, Operated, kind_of
from relay.domain.ids import SHARED_POOL, AccountId, IpAddress, MessageId
from relay.domain.message import Wish
from relay.domain.resolve import Step
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere
from relay.frames.console.forms import Form, fill
from relay.frames.console.routing import Pages
from relay.frames.console.templating import span
from relay.frames.console.visit import Visit
from relay.resources.queue.rules import DEEDS, MailDesk, Story, Verb, peer_words, reply_of
from relay.resources.queue.verbs import NO_TARGET, repin_options, verb_on, verbs_for
from relay.resources.queue.words import (
    ALL_ACCOUNTS,
    STATES,
    account_asked,
    account_name,
    why_waiting,
    word_of,
)
from relay.resources.sending_ips.words import ip_path, pool_path

pages = Pages(__name__)

_DONE = {
    Verb.HOLD: "Held the message.",
    Verb.RELEASE: "Released the message: it is due now.",
    Verb.RETRY: "The message is due now.",
    Verb.CANCEL: "Cancelled the message.",
    Verb.REPIN: "Re-pinned the message.",
}
_NOT_DONE = "Nothing was changed: the message has moved on meanwhile. This is how it stands now."
_TIMES_SHOWN = 200
"""Of a message that was tried very often, the first and the last so many events."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing that happened, in words."""

    at: datetime
    word: str
    tone: str
    text: str
    """The reply verbatim, or who did it."""
    facts: tuple[str, ...]


@pages.get("/messages/{id}")
async def message(visit: Visit) -> Response:
    return await _shown(visit, await _story(visit))


@pages.get("/messages/{id}/cancel", Right.CHANGE)
async def ask_cancel(visit: Visit) -> Response:
    return await _asked(visit, Verb.CANCEL, Form())


@pages.get("/messages/{id}/repin", Right.OPERATE)
async def ask_repin(visit: Visit) -> Response:
    return await _asked(visit, Verb.REPIN, Form())


@pages.post("/messages/{id}/repin", Right.OPERATE)
async def repin(visit: Visit) -> Response:
    """To an IP of the account, or a shared one."""
    to = visit.form["to"]
    if to not in dict(repin_options(visit)):
        return await _asked(visit, Verb.REPIN, visit.form.wrong(to=NO_TARGET if to else "Required"), 422)
    return await _do(visit, Verb.REPIN, IpAddress(to))


@pages.post("/messages/{id}/{verb}")
async def operate(visit: Visit) -> Response:
    return await _do(visit, verb_on(visit), None)


async def _do(visit: Visit, verb: Verb, to: IpAddress | None) -> Response:
    id_ = (await _story(visit)).subject.message_id
    desk = visit.services.use_cases[MailDesk]
    touched = await desk.do(visit.actor.name, verb, visit.account.id, id_, to)
    return visit.go(f"/messages/{id_}", _DONE[verb] if touched else _NOT_DONE)


async def _story(visit: Visit) -> Story:
    """Within the account; an operator who looks at all accounts may read those of others. Raises NotHere."""
    try:
        story = await visit.services.use_cases[MailDesk].story(MessageId(visit.path("id")))
    except UnknownObject:
        raise NotHere("message") from None
    reads_all = visit.request.method == "GET" and account_asked(visit, visit.query) is None
    if story.subject.account != visit.account.id and not reads_all:
        raise NotHere("message")
    return story


async def _shown(visit: Visit, story: Story) -> Response:
    subject, submission = story.subject, story.submission
    is_ours = subject.account == visit.account.id
    since = submission.accepted if submission else story.told[0].event.at if story.told else None
    told = [one.event for one in story.told]
    skipped = max(0, len(told) - 2 * _TIMES_SHOWN)
    shown = told[:_TIMES_SHOWN] + told[_TIMES_SHOWN + skipped :] if skipped else told
    return visit.page(
        "queue/message.html",
        story=story,
        subject=subject,
        submission=submission,
        message=story.message,
        subject_text=submission.subject if submission else "",
        is_ours=is_ours,
        account_name=account_name(visit, subject.account),
        verbs=_possible(visit, story) if is_ours else [],
        states=STATES,
        why=why_waiting(story.message) if story.message else "",
        end=_end(told),
        steps=submission.decision.steps if submission else (),
        pin=_pin_steps(story, told),
        changes=_changes_since(visit.snapshot, story) if subject.sending_ip else [],
        chapters=[_chapter(event) for event in shown],
        skipped=skipped,
        first_shown=_TIMES_SHOWN,
        ip_path=ip_path(visit, subject.sending_ip) if subject.sending_ip and is_ours else "",
        pool_path=pool_path(visit, subject.ip_pool) if is_ours else "",
        copies=_copies(visit, story, since, is_ours),
        now=visit.services.clock.now(),
    )


async def _asked(visit: Visit, verb: Verb, form: Form, status: int = 200) -> Response:
    """The question before the deed."""
    story = await _story(visit)
    if story.subject.account != visit.account.id:
        raise NotHere("message")
    return visit.page(
        "queue/ask.html",
        status,
        subject=story.subject,
        verb=verb,
        meaning=DEEDS[verb].meaning,
        targets=repin_options(visit, but=story.subject.sending_ip),
        form=form if form.values or form.errors else fill(to=""),
    )


def _possible(visit: Visit, story: Story) -> list[tuple[str, str]]:
    """The verbs that mean something to the message as it stands."""
    message = story.message
    if message is None or message.wish is Wish.CANCEL:
        return []
    if message.wish is Wish.HOLD:
        return [(verb, label) for verb, label in verbs_for(visit) if verb in (Verb.RELEASE, Verb.CANCEL)]
    return [(verb, label) for verb, label in verbs_for(visit) if message.state in DEEDS[Verb(verb)].touches]


def _end(told: Sequence[Event]) -> tuple[str, str] | None:
    """How a message that is no longer in the queue ended: a word and its badge."""
    ends = [event for event in told if kind_of(event).is_end]
    return word_of(ends[-1]) if ends else None


def _chapter(event: Event) -> Chapter:
    word, tone = word_of(event)
    facts: list[str] = []
    if isinstance(event, Injection):
        facts.append(f"pinned to {event.about.sending_ip} of pool {event.about.ip_pool}")
    if isinstance(event, Attempt):
        facts += _attempt(event)
    if isinstance(event, Failure):
        facts.append(f"class {event.bounce_class}, {CLASS_NAMES.get(event.bounce_class, 'unknown')}")
    if isinstance(event, Delay) and event.is_ambiguous:
        facts.append("lost after the final dot: it may have arrived")
    return Chapter(event.at, word, tone, reply_of(event), tuple(facts))


def _attempt(event: Attempt) -> list[str]:
    """What is known of the attempt; of an end without a conversation, when it was."""
    peer, age = event.peer, span(timedelta(milliseconds=event.queue_time_ms))
    number = [f"attempt {event.num_retries + 1}"] if peer.ip_address else []
    return [*number, peer_words(peer), f"{age} after it was accepted"]


def _pin_steps(story: Story, told: Sequence[Event]) -> list[Step]:
    """From the pool's turn to the IP of now."""
    first = next((event.about for event in told if isinstance(event, Injection)), None)
    if first is None or not first.sending_ip:
        return []
    steps = [
        Step("R27", f"pinned to {first.sending_ip} of pool {first.ip_pool}, for every attempt"),
        Step("R28, R29", "the pin stays, whatever becomes of the pool and of the IP"),
    ]
    steps += [
        Step("re-pin", f"{event.actor} gave it another sending IP, {event.detail}")
        for event in told
        if isinstance(event, Operated) and event.verb == Verb.REPIN
    ]
    return steps


def _changes_since(snapshot: Snapshot, story: Story) -> list[tuple[str, str]]:
    """What has become of pool and IP, as far as it differs from the pin; and the rule by which it stays."""
    subject, found = story.subject, list[tuple[str, str]]()
    ip, pool = snapshot.ips.get(subject.sending_ip), subject.ip_pool
    account = AccountId(subject.account)
    if pool != SHARED_POOL and (account, pool) not in snapshot.pools:
        found.append((f"Pool {pool} was deleted since", "R29"))
    if ip is None or ip.is_retired:
        found.append((f"{subject.sending_ip} was taken out of the installation since", "R27"))
    elif pool == SHARED_POOL:
        if not ip.shared:
            found.append((f"{ip.address} is no shared IP any more", "R27"))
    elif ip.account != account:
        found.append((f"{ip.address} was unassigned from the account since", "R27"))
    elif ip.pool != pool and (account, pool) in snapshot.pools:
        found.append((f"{ip.address} was moved to pool {ip.pool} since", "R28"))
    elif ip.pool != pool:
        found.append((f"{ip.address} is now in pool {ip.pool}", ""))
    if ip is not None and ip.is_draining and not ip.is_retired:
        found.append((f"{ip.address} takes no new mail: it is being drained", ""))
    return found


def _copies(visit: Visit, story: Story, since: datetime | None, is_ours: bool) -> list[tuple[str, str]]:
    """Ways to the other messages of the transmission."""
    id_ = story.subject.transmission_id
    more = {} if is_ours else {ALL_ACCOUNTS: "on"}
    asked = {"transmissions": id_, **more}
    if since is not None:
        asked["from"] = since.strftime("%Y-%m-%dT%H:%M:%S")
    links = [("All events of this transmission", f"/events?{urlencode(asked)}")]
    if story.message is not None:
        waiting = urlencode({"transmission": id_, **more})
        links.append(("Its messages in the queue", f"/queue/messages?{waiting}"))
    return links
