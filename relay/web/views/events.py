"""What happened: the event search, and its result as a table for other programs."""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.responses import Response, StreamingResponse

from relay.domain.events import Delivery, Injection, Operated, PolicyRejection
from relay.ports import FoundEvents, Told
from relay.schema.events import event_name
from relay.service.retention import EVENTS_KEPT
from relay.web.errors import WebError
from relay.web.event_search import KINDS, USUAL_SPAN, Search, read_search
from relay.web.mail import ips_of, pools_of, reply_of, word_of
from relay.web.routing import Pages
from relay.web.views.queue import account_name
from relay.web.visit import Visit

pages = Pages()

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
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Row:
    """One event as a line of the table."""

    at: datetime
    word: str
    tone: str
    recipient: str
    subject: str
    message: str
    """Its message's id; empty when there is none."""
    ip: str
    pool: str
    text: str
    """The reply, or why it was refused."""
    who: str
    """Who was refused; empty for all else."""
    account: str


@pages.get("/events")
async def events(visit: Visit) -> Response:
    now = visit.services.clock.now()
    search = read_search(visit, now)
    after, found = _after(visit), _NOTHING
    if search.is_right:
        found = await visit.services.events.find(search.query, _PAGE, after)
    return visit.page(
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
        ips=ips_of(visit.snapshot, visit.account),
        pools=pools_of(visit.snapshot, visit.account),
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
    yield _lines([_COLUMNS])
    for _ in range(_CSV_LOOKS):
        told = found.told[:left]
        left -= len(told)
        if told:
            yield _lines([_cells(one) for one in told])
        if found.next is None or not left:
            return
        found = await visit.services.events.find(search.query, min(_CSV_PAGE, left), found.next)


def _lines(rows: Sequence[Sequence[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows([[harmless(cell) for cell in row] for row in rows])
    return written.getvalue()


def harmless(cell: str) -> str:
    """With an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _cells(one: Told) -> Sequence[str]:
    event, submission = one.event, one.submission
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    class_ = "" if isinstance(event, Injection | Delivery | Operated) else str(event.bounce_class)
    if isinstance(event, PolicyRejection):
        part = "" if event.subaccount is None else str(event.subaccount)
        return (
            *(
                at,
                event_name(event),
                event.rcpt_to,
                "",
                "",
                "",
                "",
                event.ip_pool_raw,
                event.raw_reason,
                class_,
            ),
            *(part, "", "", event.remote_addr, event.mail_from, str(event.account)),
        )
    about = event.about
    sender = submission.friendly_from if submission else ""
    campaign = submission.options.campaign_id if submission else ""
    origin = (submission.remote_addr, submission.mail_from) if submission else ("", "")
    return (
        *(at, event_name(event), about.rcpt_to, sender, _subject(one), campaign),
        *(about.sending_ip, about.ip_pool, reply_of(event), class_),
        *("" if about.subaccount is None else str(about.subaccount), about.message_id),
        *(about.transmission_id, *origin, str(about.account)),
    )


def _row(visit: Visit, one: Told) -> Row:
    event = one.event
    word, tone = word_of(event)
    if isinstance(event, PolicyRejection):
        who = f"from {event.remote_addr}" if event.remote_addr else ""
        who += f", MAIL FROM <{event.mail_from}>"
        if event.subaccount is not None:
            who += f", subaccount {event.subaccount}"
        if event.ip_pool_raw:
            who += f", asked for pool {event.ip_pool_raw}"
        account = account_name(visit, event.account)
        reason = event.raw_reason
        return Row(
            event.at, word, tone, event.rcpt_to, "", "", "", "", reason, who.removeprefix(", "), account
        )
    about = event.about
    return Row(
        event.at,
        word,
        tone,
        about.rcpt_to,
        _subject(one),
        about.message_id,
        about.sending_ip,
        about.ip_pool,
        reply_of(event),
        "",
        account_name(visit, about.account),
    )


def _subject(one: Told) -> str:
    """Of this copy, or of all."""
    event = one.event
    particulars = None if isinstance(event, PolicyRejection) else event.about.particulars
    own = particulars.subject if particulars else ""
    return own or (one.submission.subject if one.submission else "")


def _after(visit: Visit) -> int | None:
    """Where the page before this one ended. Raises WebError 400."""
    text = visit.query["after"]
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) < _LATEST and len(text) < 20):
        raise WebError(400, "This page cannot go on from there: begin with the newest events again.")
    return int(text)
