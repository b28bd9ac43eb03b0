"""What happened: the event search, and its result as a table for other programs."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response, StreamingResponse

from relay.domain.events import Failure, PolicyRejection
from relay.domain.ids import SubaccountId
from relay.frames.console.errors import WebError
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.frames.retention import EVENTS_KEPT
from relay.ports.eventlog import FoundEvents, Told
from relay.resources.events.search import KINDS, USUAL_SPAN, Search, read_search
from relay.resources.events.shapes import event_name
from relay.resources.queue.rules import reply_of
from relay.resources.queue.words import account_name, word_of
from relay.resources.sending_ips.words import ip_suggestions, pool_suggestions

pages = Pages(__name__)

CSV_ROWS = 10_000
_PAGE = 100
_CSV_PAGE = 1000
_CSV_LOOKS = 500
"""Pages that a table looks for, however few rows they have."""
_NOTHING = FoundEvents((), None, False)
_LATEST = 1 << 62
_COLUMNS = (
    *("time", "type", "recipient", "from", "subject", "campaign", "sending_ip", "ip_pool", "reply"),
    *("bounce_class", "subaccount", "message_id", "transmission_id", "remote_addr", "mail_from", "account"),
)
_SIGNS = "=+-@＝＋－＠"
_SEPARATED = re.compile(f'[;|\\s"]+[{_SIGNS}]?')
"""What may stand between two cells where other separators are usual, and what begins a formula there."""
_TO_QUOTE = re.compile(r'[;,|\s"]')
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event as a line of the table; what it says nothing of is empty."""

    at: datetime
    word: str
    tone: str
    recipient: str
    text: str
    """The reply, or why it was refused."""
    account: str
    subject: str = ""
    message: str = ""
    """Its message's id."""
    ip: str = ""
    pool: str = ""
    who: str = ""
    """Who was refused."""


@pages.get("/events")
async def events(visit: Visit) -> Response:
    now = visit.services.clock.now()
    search = read_search(visit, now)
    after, found = _after(visit), _NOTHING
    if search.is_right:
        found = await visit.services.events.find(search.query, _PAGE, after)
    # A hundred lines of a table are the longest page there is: the loop has other guests.
    return await asyncio.to_thread(
        visit.page,
        "events/events.html",
        200 if search.is_right else 422,
        search=search,
        kinds=KINDS,
        rows=[_row(visit, one) for one in found.told],
        found=found,
        after=after,
        since=search.query.since,
        usual=USUAL_SPAN,
        kept_since=now - EVENTS_KEPT,
        is_widest=search.query.since <= now - EVENTS_KEPT,
        kept=EVENTS_KEPT,
        csv_rows=CSV_ROWS,
        now=now,
        ips=ip_suggestions(visit),
        pools=pool_suggestions(visit),
    )


@pages.get("/events.csv")
async def table(visit: Visit) -> Response:
    """The newest events of the search, up to CSV_ROWS, as comma-separated values (RFC 4180)."""
    now = visit.services.clock.now()
    search = read_search(visit, now)
    if not search.is_right:
        raise WebError(422, "There is something wrong with the search: open it as a page to see what.")
    # Before the answer begins: what goes wrong now is still told as a page.
    first = await visit.services.events.find(search.query, _CSV_PAGE, _after(visit))
    name = f"events-{now.astimezone(UTC):%Y%m%d-%H%M%S}.csv"
    return StreamingResponse(
        _written(visit, search, first),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


async def _written(visit: Visit, search: Search, found: FoundEvents) -> AsyncIterator[str]:
    left = CSV_ROWS
    yield lines([_COLUMNS])
    for _ in range(_CSV_LOOKS):
        told = found.told[:left]
        left -= len(told)
        if told:
            # Thousands of rows: as above.
            yield await asyncio.to_thread(_table, told)
        if found.next is None or not left:
            return
        found = await visit.services.events.find(search.query, min(_CSV_PAGE, left), found.next)


def _table(told: Sequence[Told]) -> str:
    rows = [_cells(one) for one in told]
    return lines([[row.get(name, "") for name in _COLUMNS] for row in rows])


def lines(rows: Sequence[Sequence[str]]) -> str:
    """Rows as RFC 4180 has them, harmless for spreadsheets."""
    return "".join(",".join(map(_quoted, map(harmless, row))) + "\r\n" for row in rows)


def _quoted(cell: str) -> str:
    return '"{}"'.format(cell.replace('"', '""')) if _TO_QUOTE.search(cell) else cell


def harmless(cell: str) -> str:
    """With an apostrophe before what a spreadsheet would take for a formula."""
    marked = _SEPARATED.sub(_marked, cell)
    return f"'{marked}" if marked != cell or cell.startswith(_FORMULA) else cell


def _marked(found: re.Match[str]) -> str:
    """An apostrophe between the last separator and a formula: programs that cut at other separators than ours
    take what follows for a cell, and quotes for its own."""
    text = found[0]
    if text[-1] not in _SIGNS or (cut := max(map(text.rfind, ";|\t\r\n"))) < 0:
        return text
    return f"{text[: cut + 1]}'{text[cut + 1 :]}"


def _cells(one: Told) -> Mapping[str, str]:
    """By column; a column that means nothing for the event is absent."""
    event, submission = one.event, one.submission
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    cells = {"time": at, "type": event_name(event)}
    if isinstance(event, Failure):
        cells["bounce_class"] = str(event.bounce_class)
    if isinstance(event, PolicyRejection):
        return {
            **cells,
            "recipient": event.rcpt_to,
            "ip_pool": event.ip_pool_raw,
            "reply": event.raw_reason,
            "subaccount": _number(event.subaccount),
            "remote_addr": event.remote_addr,
            "mail_from": event.mail_from,
            "account": str(event.account),
        }
    about = event.about
    if submission is not None:
        cells |= {
            "from": submission.friendly_from,
            "campaign": submission.options.campaign_id,
            "remote_addr": submission.remote_addr,
            "mail_from": submission.mail_from,
        }
    return {
        **cells,
        "recipient": about.rcpt_to,
        "subject": submission.subject if submission else "",
        "sending_ip": about.sending_ip,
        "ip_pool": about.ip_pool,
        "reply": reply_of(event),
        "subaccount": _number(about.subaccount),
        "message_id": about.message_id,
        "transmission_id": about.transmission_id,
        "account": str(about.account),
    }


def _number(subaccount: SubaccountId | None) -> str:
    return "" if subaccount is None else str(subaccount)


def _row(visit: Visit, one: Told) -> EventRow:
    event = one.event
    word, tone = word_of(event)
    if isinstance(event, PolicyRejection):
        return EventRow(
            at=event.at,
            word=word,
            tone=tone,
            recipient=event.rcpt_to,
            text=event.raw_reason,
            who=_refused(event),
            account=account_name(visit, event.account),
        )
    about = event.about
    return EventRow(
        at=event.at,
        word=word,
        tone=tone,
        recipient=about.rcpt_to,
        subject=one.submission.subject if one.submission else "",
        message=about.message_id,
        ip=about.sending_ip,
        pool=about.ip_pool,
        text=reply_of(event),
        account=account_name(visit, about.account),
    )


def _refused(event: PolicyRejection) -> str:
    """Whose mail it was, and what it asked for."""
    facts = [
        f"from {event.remote_addr}" if event.remote_addr else "",
        _sender(event),
        "" if event.subaccount is None else f"subaccount {event.subaccount}",
        f"asked for pool {event.ip_pool_raw}" if event.ip_pool_raw else "",
    ]
    return ", ".join(fact for fact in facts if fact)


def _sender(event: PolicyRejection) -> str:
    if event.recv_method == "rest":
        return f"by REST as {event.mail_from}" if event.mail_from else "by REST"
    return f"MAIL FROM <{event.mail_from}>"


def _after(visit: Visit) -> int | None:
    """Where the page before this one ended. Raises WebError 400."""
    text = visit.query["after"]
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) < _LATEST and len(text) < 20):
        raise WebError(400, "This page cannot go on from there: begin with the newest events again.")
    return int(text)
