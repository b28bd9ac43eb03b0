"""Bodies of `POST /transmissions`, read into values.

Written by hand over json, not with pydantic: a body may have a hundred thousand recipients, and
the sentences are SparkPost's own.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from relay.domain.address import parse_mailbox
from relay.domain.errors import MalformedAddress
from relay.domain.message import MAX_CAMPAIGN_BYTES, MAX_METADATA_BYTES, MAX_TAG_BYTES, MAX_TAGS, Options
from relay.domain.tracking import tracking_asked_for
from relay.domain.transmission import MAX_AHEAD, Content, Recipient
from relay.frames.rest.fault import MAX_FAULTS, Fault, Faults, optional, pool_name, take_sized, take_typed
from relay.mail.addresses import NOBODY
from relay.mail.scan import (
    MAX_NESTING,
    BadJson,
    check_number_of_values,
    check_surrogates,
    has_surrogates,
    is_nested_deeply,
    is_too_deep,
    scan_object,
)
from relay.resources.transmissions.content import NO_CONTENT, parse_content
from relay.resources.transmissions.glance import address_given

MAX_DESCRIPTION_BYTES = 1024
MAX_DKIM_KEY_BYTES = 255
MAX_SUBSTITUTION_BYTES = 100_000
MAX_OPTIONS_BYTES = 10_000
MAX_KEPT_FAULTS = 10_000
MAX_NAME_BYTES = 10_000
"""Of a recipient's name and of `header_to`."""

_KNOWN = frozenset(
    {
        *("options", "content", "recipients", "campaign_id", "description", "metadata", "return_path"),
        "substitution_data",
    }
)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[+-]\d\d:\d\d|Z)",
    re.ASCII,
)
_FLAGS = (
    *("open_tracking", "click_tracking", "initial_open", "transactional", "sandbox"),
    *("skip_suppression", "inline_css", "perform_substitutions"),
)
_OPTIONS = (*_FLAGS, "start_time", "ip_pool", "dkim_key")
_NOT_HERE = {
    # Whoever asks for it must not find that the mail went out.
    "sandbox": "options.sandbox is not available on this installation",
}
"""Options that are no use but off, and what is said to those who want them on."""


@dataclass(slots=True)
class Asked:
    """What a body asks for."""

    content: Content
    options: Options
    asked_options: dict[str, Any]
    """As they came."""
    start: datetime | None
    """None: at once."""
    description: str
    return_path: str
    substitution_data: dict[str, Any]
    substitutes: bool
    recipients: Sequence[Recipient] = field(default_factory=list)
    """Those that are valid, in their order."""
    faults: list[Fault] = field(default_factory=list)
    """Of the others, the first so many."""
    rejected: list[str] = field(default_factory=list)
    """Their addresses, as they were written."""
    num_rejected: int = 0


def parse_transmission(
    body: bytes, now: datetime, max_ahead: timedelta = MAX_AHEAD, *, refuses_tracking: bool = False
) -> Asked:
    """Raises Fault with all that is wrong with the whole; with single recipients it is in `faults`."""
    recipients = _Recipients(checks_surrogates=has_surrogates(body))
    try:
        check_number_of_values(body)
        text = body.decode()
        if text.lstrip(" \t\r\n")[:1] == "{" and is_too_deep(body):
            raise _nested()
        given = scan_object(text, "recipients", recipients.add, _KNOWN)
        if recipients.checks_surrogates:
            check_surrogates(given)
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise Fault(1305, "Non-UTF-8 data found in json") from error
    except BadJson as error:
        raise Fault(1300, f"a body may have at most {error.limit:,} json values") from error
    except ValueError as error:
        raise Fault(1300, "Problems parsing request as json") from error
    faults = Faults()
    options: dict[str, Any] = faults.take({}, take_typed, given, "options", dict, {})
    is_kept = not is_nested_deeply(options) and _bytes_of(options) <= MAX_OPTIONS_BYTES
    # As they came; of what is large, what we know.
    asked_options = options if is_kept else {name: options[name] for name in _OPTIONS if name in options}
    for name in _FLAGS:
        faults.take(None, take_typed, asked_options, name, bool, None, "options.")
    for name, sentence in _NOT_HERE.items():
        if asked_options.get(name) is True:
            faults.add(Fault(1300, sentence))
    for sentence in tracking_asked_for(asked_options) if refuses_tracking else ():
        faults.add(Fault(1300, sentence))
    asked = Asked(
        content=faults.take(NO_CONTENT, parse_content, given),
        options=_options(given, asked_options, faults),
        asked_options=asked_options,
        start=faults.take(None, _start, asked_options.get("start_time"), now, max_ahead),
        description=faults.take("", take_sized, given, "description", MAX_DESCRIPTION_BYTES),
        return_path=faults.take("", _return_path, given),
        substitution_data=faults.take({}, substitution_data_of, given, "Transmission"),
        substitutes=optional(asked_options.get("perform_substitutions"), True),
        recipients=recipients.valid,
        faults=recipients.faults,
        rejected=recipients.rejected,
        num_rejected=recipients.num_rejected,
    )
    faults.take(None, _check_recipients, given, asked)
    faults.check()
    return asked


def _nested() -> Fault:
    return Fault(1300, f"json values may be nested at most {MAX_NESTING} levels deep")


def _options(given: Mapping[str, Any], asked: Mapping[str, Any], faults: Faults) -> Options:
    return Options(
        ip_pool=faults.take(None, pool_name, asked),
        campaign_id=faults.take("", take_sized, given, "campaign_id", MAX_CAMPAIGN_BYTES),
        metadata=faults.take({}, _metadata, given),
        open_tracking=asked.get("open_tracking"),
        click_tracking=asked.get("click_tracking"),
        initial_open=asked.get("initial_open"),
        transactional=asked.get("transactional"),
        skip_suppression=bool(asked.get("skip_suppression")),
        inline_css=bool(asked.get("inline_css")),
        dkim_key=faults.take("", take_sized, asked, "dkim_key", MAX_DKIM_KEY_BYTES, "options."),
    )


def _start(text: object, now: datetime, max_ahead: timedelta) -> datetime | None:
    """None for what is not given, `now`, or past."""
    if text is None or text == "now":
        return None
    try:
        if not (isinstance(text, str) and _TIME.fullmatch(text)):
            raise ValueError(text)
        start = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Fault(1300, "Error parsing scheduled start_time") from error
    if start - now > max_ahead:
        raise Fault(1300, f"start_time may be at most {max_ahead.days} days ahead")
    return start if start > now else None


def _return_path(given: Mapping[str, Any]) -> str:
    text: str = take_typed(given, "return_path", str, "")
    if text:
        try:
            return parse_mailbox(text).text
        except MalformedAddress as error:
            raise Fault(1300, f"return_path '{text[:320]}' is not a valid email address") from error
    return text


def _metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = take_typed(given, "metadata", dict, {})
    if is_nested_deeply(metadata):
        raise _nested()
    if metadata and (size := _bytes_of(metadata)) > MAX_METADATA_BYTES:
        raise Fault(
            1300,
            f"field 'metadata' is of length '{size}', but needs to be of max length '{MAX_METADATA_BYTES}'",
        )
    return metadata


def substitution_data_of(given: Mapping[str, Any], level: str) -> dict[str, Any]:
    """Raises Fault."""
    data: dict[str, Any] = take_typed(given, "substitution_data", dict, {})
    if is_nested_deeply(data):
        raise _nested()
    if data and _bytes_of(data) >= MAX_SUBSTITUTION_BYTES:
        raise Fault(2002, f"{level}-level substitution data must be less than {MAX_SUBSTITUTION_BYTES} bytes")
    return data


def _bytes_of(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


# ── recipients ───────────────────────────────────────────────────────────────────────────


def _check_recipients(given: Mapping[str, Any], asked: Asked) -> None:
    listed = given.get("recipients")
    if listed is None:
        raise Fault(1400, "recipients or list_id required")
    if isinstance(listed, dict):
        list_id = listed.get("list_id")
        if list_id is None:
            raise Fault(1400, "recipients or list_id required")
        raise Fault(1603, f"Recipient list '{str(list_id)[:100]}' does not exist")
    if not isinstance(listed, list):
        take_typed(given, "recipients", list, [])
    if not asked.recipients:
        told = asked.faults[: MAX_FAULTS - 1]
        raise Fault(5002, "At least one valid recipient is required", tuple(told))


class _Recipients:
    """Takes recipients one by one, as they are scanned."""

    def __init__(self, checks_surrogates: bool) -> None:
        self.checks_surrogates = checks_surrogates
        self.valid: list[Recipient] = []
        self.faults: list[Fault] = []
        self.rejected: list[str] = []
        self.num_rejected = 0

    def add(self, value: Any, size: int) -> None:
        """size: characters of JSON; a short recipient breaks no limit of size. Raises UnicodeEncodeError."""
        if self.checks_surrogates:
            check_surrogates(value)
        try:
            self.valid.append(_recipient(value, size))
        except Fault as fault:
            self.num_rejected += 1
            if len(self.faults) < MAX_KEPT_FAULTS:
                self.faults.append(fault)
                self.rejected.append(address_given(value) if isinstance(value, dict) else "")


def _recipient(value: Any, size: int) -> Recipient:
    if not isinstance(value, dict):
        take_typed({"recipients": value}, "recipients", dict, {})
        raise Fault(1400, "address.email is required for each recipient")
    address = value.get("address")
    name = header_to = ""
    if isinstance(address, dict):
        name = take_sized(address, "name", MAX_NAME_BYTES, "address.")
        header_to = take_sized(address, "header_to", MAX_NAME_BYTES, "address.")
        if address.get("header_to") == "":
            # Nobody is to be shown, which is something else than nothing being said.
            header_to = f"{NOBODY}:;"
        address = address.get("email")
    if address is None or address == "":
        raise Fault(1400, "address.email is required for each recipient")
    try:
        mailbox = parse_mailbox(address.strip() if isinstance(address, str) else "")
    except MalformedAddress as error:
        raise Fault(1300, f"invalid recipient address.email: {str(address)[:320]}") from error
    if len(value) == 1:
        return Recipient(mailbox, name, header_to)
    # A character is at most four octets, and a level has two.
    is_short = 4 * size < MAX_METADATA_BYTES and (size <= 2 * MAX_NESTING or not is_nested_deeply(value))
    return Recipient(
        mailbox,
        name,
        header_to,
        _return_path(value),
        _tags(value),
        take_typed(value, "metadata", dict, {}) if is_short else _metadata(value),
        take_typed(value, "substitution_data", dict, {})
        if is_short
        else substitution_data_of(value, "Recipient"),
    )


def _tags(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The first ten; the rest is dropped without a word, as SparkPost does."""
    tags: list[Any] = take_typed(given, "tags", list, [])
    for index, tag in enumerate(tags):
        take_typed({f"tags[{index}]": tag}, f"tags[{index}]", str, "")
    kept = [tag for tag in tags[:MAX_TAGS] if tag is not None]
    for index, tag in enumerate(kept):
        take_sized({f"tags[{index}]": tag}, f"tags[{index}]", MAX_TAG_BYTES)
    return tuple(kept)
