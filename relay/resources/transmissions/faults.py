"""What is wrong with a content, as REST tells it: by transmissions and by previews."""

from collections.abc import Mapping
from typing import get_args

from relay.accept.draft import CannotGenerate, EstimateTooLarge
from relay.domain.errors import MessageTooLarge
from relay.domain.words import INVALID
from relay.frames.rest.errors import ApiError, Problem
from relay.frames.rest.fault import MAX_FAULTS, Fault
from relay.frames.rest.shapes import Problem as ProblemShape
from relay.mail.budget import BadTemplate, OverBudget
from relay.mail.compose import BadPart
from relay.mail.mime import BadMime
from relay.mail.preview import Unrendered

_CLASSES: Mapping[int, tuple[int, str]] = {
    1300: (422, INVALID),
    1301: (422, "invalid combination of fields"),
    1305: (400, "invalid UTF-8"),
    1400: (422, "required field is missing"),
    1603: (422, "Subresource not found"),
    2002: (422, "substitution data too large"),
    5002: (400, "no valid recipient"),
    7001: (400, "Invalid domain"),
}
"""Status and class of the error for each code that a body can have."""
_HEADER = "Header:"


def problem_of(fault: Fault) -> ProblemShape:
    return ProblemShape(message=_CLASSES[fault.code][1], description=fault.detail, code=str(fault.code))


ContentError = (
    Fault | BadPart | BadMime | Unrendered | MessageTooLarge | EstimateTooLarge | CannotGenerate | OverBudget
)
CONTENT_ERRORS = get_args(ContentError)


def refusal_of_content(error: ContentError) -> ApiError:
    match error:
        case Fault(code=code):
            return ApiError.of(_CLASSES[code][0], [_told(fault) for fault in error.all])
        case BadPart():
            message = "substitution language syntax error in template content"
            told = [_of_part("3000", message, bad.part, bad.error) for bad in error.all[:MAX_FAULTS]]
            return ApiError.of(422, told)
        case Unrendered(part=part, error=cause):
            return ApiError.of(422, [_of_part("3001", "template language render error", part, cause)])
        case EstimateTooLarge(limit_bytes=limit) | MessageTooLarge(limit_bytes=limit):
            size = f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit} bytes"
            sentence = f"The estimated message size is above the {size} message size limit"
            return ApiError(422, INVALID, sentence, "1300")
        case OverBudget():
            return ApiError(422, INVALID, str(error), "1300")
        case CannotGenerate(reason=reason):
            return ApiError(400, "Failed to generate message", reason, "1901")
        case BadMime(reason=reason):
            sentence = f"content.email_rfc822 cannot be read as a MIME tree: {reason}"
            return ApiError(422, "template mime parsing error", sentence, "3020")


def _told(fault: Fault) -> Problem:
    message = fault.detail if fault.code == 5002 else _CLASSES[fault.code][1]
    return Problem(message, fault.detail, str(fault.code))


def _of_part(code: str, message: str, part: str, cause: BadTemplate) -> Problem:
    doing = "compiling" if code == "3000" else "rendering"
    place = f"header {part.removeprefix(_HEADER)}" if part.startswith(_HEADER) else f"part {part}"
    sentence = f"Error while {doing} {place}: {cause}" if part else f"Error while {doing}: {cause}"
    return Problem(message, sentence, code, part=part or None, line=cause.line or None)
