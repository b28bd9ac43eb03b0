"""Operate → Changes: who changed what."""

from starlette.responses import Response

from relay.frames.actor import Right
from relay.frames.console.forms import number_in
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.resources.audit.rules import AuditLog
from relay.resources.audit.words import Change, change_of

pages = Pages(__name__)
_CHANGES = 50
_CHUNK, _MOST_LINES = 500, 2000
"""Audit lines that a search looks at, at a time and for one page."""


@pages.get("/operate/changes", Right.OPERATE)
async def changes(visit: Visit) -> Response:
    """Newest first. A search looks at so many lines, and says where it stopped."""
    asked, after = visit.query["q"].casefold(), number_in(visit.query["after"])
    found, last, has_more = await _search(visit, asked, after)
    return visit.page(
        "audit/changes.html",
        form=visit.query,
        changes=found,
        last=last,
        has_more=has_more,
        is_cut=has_more and len(found) < _CHANGES,
        is_first=after is None,
        looked_at=_MOST_LINES,
    )


async def _search(visit: Visit, asked: str, after: int | None) -> tuple[list[Change], int | None, bool]:
    """Changes with that text in them, the line looked at last, and whether older ones are left."""
    found: list[Change] = []
    looked_at = 0
    while True:
        size = _CHUNK if asked else _CHANGES + 1
        lines = await visit.services.use_cases[AuditLog].latest(size, after=after)
        for line in lines:
            if len(found) == _CHANGES or looked_at == _MOST_LINES:
                return found, after, True
            change = change_of(line)
            after, looked_at = line.id, looked_at + 1
            if asked in change.text:
                found.append(change)
        if len(lines) < size:
            return found, after, False
