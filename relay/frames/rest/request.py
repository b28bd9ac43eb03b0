"""Bodies of requests: each field has pydantic's own constraints, and words for when they are not kept."""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from relay.frames.values import MAX_NAME, parse_client, parse_name

Body = TypeVar("Body", bound="RequestBody")
Value = TypeVar("Value")

_WORDS: Mapping[str, str] = {
    "string_type": "{0} must be a string",
    "bool_type": "{0} must be a boolean",
    "model_type": "{0} must be an object",
    "value_error": "{error}",
}
"""The kinds of pydantic's errors in SparkPost's words; {0} is the field."""
_OTHERWISE = "{0} is not valid"


class RequestBody(BaseModel):
    """The JSON object of one request. What we do not know is ignored; null is as if it were not there."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Says:
    """What is said of a field that is wrong: of kinds of errors that are named, else of any."""

    def __init__(self, sentence: str, **of_kind: str) -> None:
        self._sentence, self._of_kind = sentence, of_kind

    def of(self, kind: str) -> str:
        return self._of_kind.get(kind, self._sentence)


class OneOf:
    """Of these texts; kind makes the value of one."""

    def __init__(self, texts: Iterable[str], kind: Callable[[str], object] = str) -> None:
        self._texts, self._kind = [str(text) for text in texts], kind

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            self._kind, core_schema.literal_schema(self._texts)
        )


def refuse(sentence: str) -> Any:
    """Of a flag that can be named, and not be turned on. `false` is what it is already."""

    def check(value: bool) -> bool:
        if value:
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


Name = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME),
    AfterValidator(parse_name),
    Says(f"{{0}} must be a string of 1 to {MAX_NAME} printable characters"),
]
"""For people."""
Off = Annotated[bool, Field(json_schema_extra={"enum": [False]})]
"""To be refused when it is on."""
Clients = Annotated[tuple[Annotated[str, AfterValidator(parse_client)], ...], Field(strict=False)]
"""Addresses and networks."""


class BadBody(Exception):
    """The body is wrong, in one or several fields."""

    def __init__(self, problems: tuple[tuple[str, str, object], ...]) -> None:
        super().__init__(problems)
        self.problems = problems
        """Sentence, field, and what stood there."""


def read(model: type[Body], value: Mapping[str, Any], missing: str) -> Body:
    """missing: the sentence for a field that is required, `{0}` being its name. Raises BadBody with all."""
    given = {key: item for key, item in value.items() if item is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problems: dict[str, tuple[str, str, object]] = {}
        for details in error.errors(include_url=False):
            field = str(details["loc"][0])
            problems.setdefault(field, (_words(model, details, missing), field, given.get(field)))
        raise BadBody(tuple(problems.values())) from error


def _says(field: FieldInfo) -> Says | None:
    """What was written last: of the field itself, else of its type."""
    types = (getattr(part, "__metadata__", ()) for part in get_args(field.annotation))
    found = [one for group in (*types, field.metadata) for one in group if isinstance(one, Says)]
    return found[-1] if found else None


def _words(model: type[RequestBody], details: ErrorDetails, missing: str) -> str:
    kind, location = details["type"], [part for part in details["loc"] if isinstance(part, str)]
    own = _says(model.model_fields[location[0]])
    if kind == "missing":
        sentence = missing
    elif own is not None and len(location) == 1:
        # What is wrong with an item is no matter of the list's type.
        sentence = own.of(kind if len(details["loc"]) == 1 else "value_error")
    else:
        sentence = _WORDS.get(kind, _OTHERWISE)
    return sentence.format(".".join(location), **details.get("ctx", {}))
