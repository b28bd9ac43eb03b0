"""`relay queue show`: one message's whole story, from injection to its end."""

from relay.domain.events import (
    Attempt,
    Bounce,
    Delay,
    Delivery,
    Event,
    Failure,
    Injection,
    Operated,
    PolicyRejection,
    Subject,
    kind_of,
)
from relay.domain.ids import MessageId
from relay.domain.message import Message, State, Submission
from relay.frames.commands.printing import (
    make_plain,
    print_json,
    print_line,
    print_pairs,
    print_steps,
    write_moment,
)
from relay.frames.commands.session import ShellSession
from relay.resources.queue.rules import Story, peer_words, reply_of, story_of


async def show_message(session: ShellSession, id_: MessageId, as_json: bool) -> None:
    """Print it. Raises UnknownObject when neither queue nor event log knows the message."""
    story = await story_of(session.store.queue, session.store.events, id_)
    if as_json:
        print_json(_as_json(story))
        return
    print_line(f"message {id_}")
    print_pairs(_pairs(story.message, story.subject))
    if story.submission:
        print_line(f"\nsubmission {story.submission.id}")
        print_pairs(_submission_pairs(story.submission))
        print_line("\nwhy this pool and IP")
        print_steps(story.submission.decision.steps)
    print_line("\nstory")
    for one in story.told:
        kind, detail = _line(one.event)
        print_line(f"  {write_moment(one.event.at)}  {kind:<10}{make_plain(detail)}".rstrip())


def _pairs(message: Message | None, subject: Subject) -> list[tuple[str, object]]:
    copy = f" ({subject.rcpt_type})" if subject.rcpt_type else ""
    pairs: list[tuple[str, object]] = [
        ("to", subject.rcpt_to + copy),
        ("size", f"{subject.size_bytes} octets"),
    ]
    if message is None:
        return [
            *pairs,
            ("pinned to", f"{subject.sending_ip}, pool {subject.ip_pool}"),
            ("state", "left the queue"),
        ]
    pin = message.pin
    bound = f", bound to {pin.bind}" if pin.bind != pin.ip else ""
    state = message.state.value + (f", wish to {message.wish.value}" if message.wish else "")
    return [
        *pairs,
        ("MAIL FROM", f"<{message.mail_from}>"),
        ("reports", message.dsn_request and str(message.dsn_request)),
        ("pinned to", f"{pin.ip} ({pin.hostname}){bound}, pool {pin.pool}"),
        ("state", state),
        ("attempts", message.attempts),
        ("held until" if message.state is State.HELD else "due", write_moment(message.due)),
        ("expires", write_moment(message.expires)),
        ("last reply", message.last_reply),
    ]


def _submission_pairs(submission: Submission) -> list[tuple[str, object]]:
    sub = f", subaccount {submission.subaccount}" if submission.subaccount else ""
    return [
        ("by", f"account {submission.account}{sub}"),
        ("accepted", f"{write_moment(submission.accepted)} by {submission.recv_method}"),
        ("from host", submission.remote_addr),
        ("MAIL FROM", f"<{submission.mail_from}>"),
        ("From", submission.friendly_from),
        ("Subject", submission.subject),
        ("campaign", submission.options.campaign_id),
    ]


def _line(event: Event) -> tuple[str, str]:
    """What happened in a word, and the rest."""
    return event.verb if isinstance(event, Operated) else kind_of(event).name, _detail(event)


def _detail(event: Event) -> str:
    text = reply_of(event)
    match event:
        case Injection(about=about):
            return f"pinned to {about.sending_ip}, pool {about.ip_pool}"
        case Bounce(peer=peer, bounce_class=class_):
            return f"{text}  ({peer_words(peer)}, class {class_})"
        case Delivery(peer=peer, num_retries=retries):
            return f"{text}  ({peer_words(peer)}, attempt {retries + 1})"
        case Delay(peer=peer, num_retries=retries, is_ambiguous=is_ambiguous):
            doubt = ", lost after the final dot: it may have arrived" if is_ambiguous else ""
            return f"{text}  ({peer_words(peer)}, attempt {retries + 1}{doubt})"
        case _:
            return text


def _as_json(story: Story) -> dict[str, object]:
    """The same facts, with null for what is no longer known."""
    message, subject = story.message, story.subject
    return {
        "id": subject.message_id,
        "state": message.state.value if message else None,
        "rcpt_to": subject.rcpt_to,
        "rcpt_type": subject.rcpt_type,
        "size_bytes": subject.size_bytes,
        "pool": subject.ip_pool,
        "ip": subject.sending_ip,
        "bind": message.pin.bind if message else None,
        "hostname": message.pin.hostname if message else None,
        "attempts": message.attempts if message else None,
        "due": message.due if message else None,
        "expires": message.expires if message else None,
        "last_reply": message.last_reply if message else None,
        "dsn_request": str(message.dsn_request) if message and message.dsn_request else None,
        "submission": _submission_json(story.submission) if story.submission else None,
        "events": [_event_json(one.event) for one in story.told],
    }


def _submission_json(submission: Submission) -> dict[str, object]:
    return {
        "transmission_id": submission.id,
        "account": submission.account,
        "subaccount": submission.subaccount,
        "accepted": submission.accepted,
        "recv_method": submission.recv_method,
        "remote_addr": submission.remote_addr,
        "mail_from": submission.mail_from,
        "friendly_from": submission.friendly_from,
        "subject": submission.subject,
        "sending_domain": submission.sending_domain,
        "campaign_id": submission.options.campaign_id,
        "rcpt_meta": submission.options.metadata,
        "rcpt_tags": submission.options.tags,
        "ip_pool_raw": submission.options.ip_pool,
        "steps": [{"rule": step.rule, "finding": step.finding} for step in submission.decision.steps],
    }


def _event_json(event: Event) -> dict[str, object]:
    kind, detail = _line(event)
    told: dict[str, object] = {"at": event.at, "event": kind, "detail": detail}
    if not isinstance(event, PolicyRejection):
        told |= {"sending_ip": event.about.sending_ip, "ip_pool": event.about.ip_pool}
    if isinstance(event, Attempt):
        told |= {
            "num_retries": event.num_retries,
            "queue_time": event.queue_time_ms,
            "ip_address": event.peer.ip_address,
            "outbound_tls": event.peer.outbound_tls,
            "reply": reply_of(event),
        }
        if isinstance(event, Failure):
            told |= {"bounce_class": event.bounce_class, "error_code": event.error_code}
    return told
