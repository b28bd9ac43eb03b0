"""`/utils/content-previewer`: a content and values in, what a recipient would get out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from relay.domain.errors import MessageTooLarge
from relay.domain.transmission import Content
from relay.frames.rest.fault import Fault, Faults
from relay.frames.rest.request import RequestBody
from relay.mail.budget import Budget
from relay.mail.preview import Preview, preview
from relay.mail.scan import BadJson, JsonFault, read_object
from relay.mail.weight import estimated_bytes
from relay.resources.transmissions.body import substitution_data_of
from relay.resources.transmissions.content import NO_CONTENT, parse_content
from relay.resources.transmissions.shapes import ContentBody

MAX_VALUES = 100_000
"""Of JSON, in a body: those of the values that may be filled in, many times over."""
_PROBLEMS = {
    JsonFault.NOT_UTF8: (1305, "Non-UTF-8 data found in json"),
    JsonFault.NO_OBJECT: (1300, "Problems parsing request as json"),
    JsonFault.TOO_MANY_VALUES: (1300, f"a body may have at most {MAX_VALUES:,} json values"),
}


class PreviewBody(RequestBody):
    """What is to be shown."""

    content: ContentBody
    substitution_data: dict[str, Any] | None = None


class SenderShape(BaseModel):
    """Whom a message is from."""

    email: str
    name: str | None = None


class PreviewShape(BaseModel):
    """A content with the values in it: `email_rfc822` alone, or what it has of the others."""

    from_: SenderShape | None = Field(None, alias="from")
    subject: str | None = None
    reply_to: str | None = None
    text: str | None = None
    html: str | None = None
    amp_html: str | None = None
    headers: dict[str, str] | None = None
    email_rfc822: str | None = None


@dataclass(frozen=True, slots=True)
class PreviewAsked:
    """What a body asks for."""

    content: Content
    data: Mapping[str, Any]


def parse_preview(octets: bytes) -> PreviewAsked:
    """Raises Fault."""
    try:
        given = read_object(octets, MAX_VALUES)
    except BadJson as error:
        raise Fault(*_PROBLEMS[error.fault]) from error
    faults = Faults()
    content = faults.take(NO_CONTENT, parse_content, given)
    data = faults.take({}, substitution_data_of, given, "Transmission")
    faults.check()
    return PreviewAsked(content, data)


def preview_for(asked: PreviewAsked, budget: Budget, max_bytes: int) -> bytes:
    """The answer. Raises MessageTooLarge, and what `preview` raises."""
    if estimated_bytes(asked.content) > max_bytes:
        raise MessageTooLarge(max_bytes)
    results = _shown(preview(asked.content, asked.data, budget))
    return json.dumps({"results": results}, separators=(",", ":")).encode()


def _shown(made: Preview) -> dict[str, object]:
    if made.sender is None:
        return {"email_rfc822": made.message}
    name, mailbox = made.sender
    return {
        "from": {"email": mailbox.text, **({"name": name} if name else {})},
        "subject": made.subject,
        **({"reply_to": made.reply_to} if made.reply_to else {}),
        **made.texts,
        **({"headers": dict(made.headers)} if made.headers else {}),
    }
