"""X-MSYS-API: one JSON object in a header field, read into Options (docs/rules.md#x-msys-api).

Written by hand over json, not with pydantic: every message passes here, and the sentences are
SparkPost's own. Decided by us where its documents are silent: of a key given twice the last
counts; NaN, infinities and lone surrogates are not JSON; metadata is limited as in REST.
"""

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, NoReturn

from relay.domain.address import parse_mailbox
from relay.domain.errors import BadOptions, MalformedAddress, MalformedOptions
from relay.domain.message import (
    MAX_CAMPAIGN_BYTES,
    MAX_METADATA_BYTES,
    MAX_POOL_CHARACTERS,
    MAX_TAG_BYTES,
    MAX_TAGS,
    Copy,
    Options,
)
from relay.mail.headers import decode_words, unfold
from relay.mail.scan import BadJson, check_number_of_values, is_too_deep

MAX_OCTETS = 262_144
MAX_VALUES = 10_000
"""Of JSON: each copy has three at most."""
MAX_NESTING = 32
MAX_COPIES = 1000

_CACHED_OCTETS = 1000
_PARSING = "JSON parsing error in X-MSYS-API"
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_msys(value: bytes) -> Options:
    """What the field body asks for, as received: still folded. Raises MalformedOptions."""
    if len(value) <= _CACHED_OCTETS:
        return _parse_cached(value)
    if len(value) > MAX_OCTETS:
        raise BadOptions(f"X-MSYS-API is limited to {MAX_OCTETS} bytes")
    return _parse(value)


def _parse(value: bytes) -> Options:
    try:
        text = unfold(value).strip(b" \t\r\n").decode("utf-8")
    except UnicodeDecodeError:
        raise BadOptions(f"{_PARSING}: invalid UTF-8") from None
    if not text:
        return Options()
    given = _load(text)
    if not isinstance(given, dict):
        raise BadOptions("X-MSYS-API must be of type 'json object'")
    options = _typed(given, "options", dict, {})
    prefixed = partial(_typed, options, prefix="options.")
    sandbox = prefixed("sandbox", bool, False)
    if sandbox:
        # Whoever asks for it must not find that the mail went out.
        raise BadOptions("options.sandbox is not available on this installation")
    return Options(
        ip_pool=_pool(prefixed("ip_pool", str, "")),
        campaign_id=_campaign(given),
        metadata=_metadata(given),
        tags=_tags(given),
        **_copies(given),
        open_tracking=prefixed("open_tracking", bool, None),
        click_tracking=prefixed("click_tracking", bool, None),
        initial_open=prefixed("initial_open", bool, None),
        transactional=prefixed("transactional", bool, None),
        skip_suppression=prefixed("skip_suppression", bool, False),
        inline_css=prefixed("inline_css", bool, False),
        sandbox=sandbox,
        dkim_key=_well_formed(prefixed("dkim_key", str, "")),
    )


_parse_cached = lru_cache(maxsize=256)(_parse)
"""The messages of a campaign share their header; nothing alters the Options they then share."""


# ── JSON ─────────────────────────────────────────────────────────────────────────────────


def _load(text: str) -> Any:
    """The JSON value; encoded words in the whole of it are decoded only when it is not JSON as it stands."""
    try:
        return _parse_json(text)
    except MalformedOptions:
        if "=?" not in text:
            raise
    return _parse_json(decode_words(text))


def _parse_json(text: str) -> Any:
    try:
        if len(text) > MAX_VALUES:
            check_number_of_values(text.encode("utf-8", "replace"), MAX_VALUES)
        if is_too_deep(text.encode("utf-8", "replace")):
            raise BadOptions(f"{_PARSING}: nested too deeply")
        return _DECODER.decode(text)
    except BadJson:
        raise BadOptions(f"X-MSYS-API is limited to {MAX_VALUES:,} json values") from None
    except json.JSONDecodeError as error:
        raise BadOptions(f"{_PARSING}: {error.msg} at character {error.pos + 1}") from None
    except ValueError:
        raise BadOptions(f"{_PARSING}: number out of range") from None


def _finite(digits: str) -> float:
    """json itself makes an infinity of 1e999, which nobody could read back."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


def _no_constant(name: str) -> NoReturn:
    """Python's json takes NaN and the infinities; JSON does not (RFC 8259 §6)."""
    raise BadOptions(f"{_PARSING}: {name} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
_TYPE_NAMES: Mapping[type, str] = {
    dict: "json object",
    list: "json array",
    str: "json string",
    bool: "json boolean",
}


def _typed(given: Mapping[str, Any], name: str, kind: type, default: Any, prefix: str = "") -> Any:
    """given[name], which is of that JSON type; default when it is missing or null."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _mistyped(prefix + name, kind)
    return value


def _mistyped(field: str, kind: type) -> MalformedOptions:
    return BadOptions(f"X-MSYS-API '{field}' must be of type '{_TYPE_NAMES[kind]}'")


def _well_formed(text: str) -> str:
    if not text.isascii() and _SURROGATE.search(text):
        raise BadOptions(f"{_PARSING}: lone surrogate")
    return text


# ── fields ───────────────────────────────────────────────────────────────────────────────


def _pool(name: str) -> str | None:
    if len(name) > MAX_POOL_CHARACTERS or not name.isprintable():
        raise BadOptions(
            f"X-MSYS-API 'options.ip_pool' is limited to {MAX_POOL_CHARACTERS} printable characters"
        )
    return name or None


def _campaign(given: Mapping[str, Any]) -> str:
    campaign = _decoded(_typed(given, "campaign_id", str, ""))
    if len(campaign.encode()) > MAX_CAMPAIGN_BYTES:
        raise BadOptions(f"smtpapi_campaign_id context is limited to {MAX_CAMPAIGN_BYTES} bytes")
    return campaign


def _tags(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The first ten; the rest is dropped without a word, as SparkPost does."""
    tags = _typed(given, "tags", list, [])
    for index, tag in enumerate(tags):
        if not isinstance(tag, str):
            raise _mistyped(f"tags[{index}]", str)
    kept = tuple(map(_decoded, tags[:MAX_TAGS]))
    if any(len(tag.encode()) > MAX_TAG_BYTES for tag in kept):
        raise BadOptions(f"X-MSYS-API 'tags' are limited to {MAX_TAG_BYTES} bytes each")
    return kept


def _metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = _decoded_inside(_typed(given, "metadata", dict, {}), MAX_NESTING)
    if len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_METADATA_BYTES:
        raise BadOptions(f"X-MSYS-API 'metadata' is limited to {MAX_METADATA_BYTES} bytes")
    return metadata


def _copies(given: Mapping[str, Any]) -> dict[str, tuple[Copy, ...]]:
    lists = {name: _typed(given, name, list, []) for name in ("cc", "bcc", "archive")}
    if sum(map(len, lists.values())) > MAX_COPIES:
        raise BadOptions(f"X-MSYS-API 'cc', 'bcc' and 'archive' are limited to {MAX_COPIES} entries")
    return {
        name: tuple(_copy(entry, f"{name}[{index}]") for index, entry in enumerate(entries))
        for name, entries in lists.items()
    }


def _copy(entry: Any, field: str) -> Copy:
    """An address, or `{"email": …, "name": …}`."""
    email, label = entry, ""
    if isinstance(entry, dict):
        email = _typed(entry, "email", str, "", f"{field}.")
        label = _well_formed(_typed(entry, "name", str, "", f"{field}."))
    elif not isinstance(entry, str):
        raise BadOptions(f"X-MSYS-API '{field}' must be of type 'json string' or 'json object'")
    try:
        return Copy(parse_mailbox(_well_formed(email)), label)
    except MalformedAddress:
        raise BadOptions(f"X-MSYS-API '{field}' is not an email address") from None


# ── encoded words (RFC 2047) ─────────────────────────────────────────────────────────────


def _decoded(text: str) -> str:
    return _well_formed(decode_words(text) if "=?" in text else text)


def _decoded_inside(value: Any, nesting: int) -> Any:
    """The same value with encoded words decoded in every string, keys too."""
    if isinstance(value, str):
        return _decoded(value)
    if not isinstance(value, dict | list):
        return value
    if not nesting:
        raise BadOptions(f"X-MSYS-API 'metadata' is limited to {MAX_NESTING} levels")
    if isinstance(value, dict):
        return {_decoded(key): _decoded_inside(inner, nesting - 1) for key, inner in value.items()}
    return [_decoded_inside(inner, nesting - 1) for inner in value]
