"""What `/transmissions` answers, and a description of what it takes."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from relay.domain.transmission import CHUNK, Content, InlineContent, Progress, Transmission
from relay.frames.rest.request import RequestBody
from relay.frames.rest.shapes import Problem


class SenderBody(RequestBody):
    """`content.from` in two parts."""

    name: str | None = None
    email: str


class FileBody(RequestBody):
    """An attachment, or an image that HTML shows by `cid:` and its name."""

    name: str
    type: str
    data: str
    """Base64."""


class ContentBody(RequestBody):
    """Inline: `from`, `subject` and `text` or `html`; or `email_rfc822` and nothing else."""

    from_: SenderBody | str | None = Field(None, alias="from")
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    amp_html: str | None = None
    reply_to: str | None = None
    headers: dict[str, str | None] | None = None
    attachments: list[FileBody] | None = None
    inline_images: list[FileBody] | None = None
    email_rfc822: str | None = None


class OptionsBody(RequestBody):
    """How a transmission is sent."""

    ip_pool: str | None = None
    """The id of a pool."""
    start_time: str | None = None
    """`2026-05-17T09:30:00+02:00`."""
    open_tracking: bool | None = None
    click_tracking: bool | None = None
    initial_open: bool | None = None
    transactional: bool | None = None
    sandbox: bool | None = None
    skip_suppression: bool | None = None
    inline_css: bool | None = None
    perform_substitutions: bool | None = None
    dkim_key: str | None = None


class AddressBody(RequestBody):
    """`address` of a recipient in parts."""

    email: str
    name: str | None = None
    header_to: str | None = None
    """What To says instead."""


class RecipientBody(RequestBody):
    """Whom to send to."""

    address: AddressBody | str
    return_path: str | None = None
    tags: list[str | None] | None = None
    metadata: dict[str, Any] | None = None
    substitution_data: dict[str, Any] | None = None


class TransmissionBody(RequestBody):
    """What POST /transmissions takes: for the description of the API alone."""

    content: ContentBody
    recipients: list[RecipientBody]
    """Those that are wrong are refused one by one, as long as one is right."""
    options: OptionsBody | None = None
    campaign_id: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    substitution_data: dict[str, Any] | None = None
    return_path: str | None = None


class Accepted(BaseModel):
    """What became of the recipients."""

    total_accepted_recipients: int
    total_rejected_recipients: int
    id: str
    rcpt_to_errors: list[Problem] | None = None


class TransmissionAccepted(BaseModel):
    results: Accepted
    errors: list[Problem] | None = None
    """Set when some recipients were not accepted."""


class TransmissionRow(BaseModel):
    """A scheduled transmission in the list of all."""

    id: str
    state: str
    campaign_id: str
    description: str
    content: dict[str, str]
    subaccount_id: int | None = None
    set_aside_time: datetime | None = None
    """Since when nobody works on it, until an operator does something about it."""

    @classmethod
    def of(
        cls, transmission: Transmission, progress: Progress, set_aside: datetime | None
    ) -> "TransmissionRow":
        return cls(
            id=transmission.id,
            state=progress.state.value,
            campaign_id=transmission.options.campaign_id,
            description=transmission.description,
            content={"template_id": "inline"},
            subaccount_id=transmission.subaccount,
            set_aside_time=set_aside,
        )


class TransmissionShape(BaseModel):
    """A scheduled transmission, whole but for its recipients and the data of its files."""

    id: str
    state: str
    description: str
    campaign_id: str
    content: dict[str, Any]
    num_rcpts: int
    num_generated: int
    num_failed_gen: int
    rcpt_list_chunk_size: int
    rcpt_list_total_chunks: int
    generation_start_time: datetime | None
    generation_end_time: datetime | None
    metadata: dict[str, Any]
    options: dict[str, Any]
    substitution_data: dict[str, Any]
    return_path: str
    subaccount_id: int | None = None
    set_aside_time: datetime | None = None
    """As in the list."""

    @classmethod
    def of(
        cls,
        transmission: Transmission,
        progress: Progress,
        content: Content | None,
        set_aside: datetime | None,
    ) -> "TransmissionShape":
        return cls(
            id=transmission.id,
            state=progress.state.value,
            description=transmission.description,
            campaign_id=transmission.options.campaign_id,
            content=_content(content),
            num_rcpts=transmission.num_rcpts,
            num_generated=progress.num_generated,
            num_failed_gen=progress.num_failed,
            rcpt_list_chunk_size=CHUNK,
            rcpt_list_total_chunks=-(-transmission.num_rcpts // CHUNK),
            generation_start_time=progress.began,
            generation_end_time=progress.ended,
            metadata=dict(transmission.options.metadata),
            options=dict(transmission.asked_options),
            substitution_data=dict(transmission.substitution_data),
            return_path=transmission.return_path,
            subaccount_id=transmission.subaccount,
            set_aside_time=set_aside,
        )


class OneTransmission(BaseModel):
    transmission: TransmissionShape


def _content(content: Content | None) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, InlineContent):
        return {"email_rfc822": content.message.decode("utf-8", "replace")}
    shown: dict[str, Any] = {
        "from": {"email": content.from_email, "name": content.from_name},
        "subject": content.subject,
        "text": content.text,
        "html": content.html,
        "amp_html": content.amp_html,
        "reply_to": content.reply_to,
        "headers": dict(content.headers),
        "attachments": [{"name": file.name, "type": file.type} for file in content.attachments],
        "inline_images": [{"name": file.name, "type": file.type} for file in content.inline_images],
    }
    return {name: value for name, value in shown.items() if value}
