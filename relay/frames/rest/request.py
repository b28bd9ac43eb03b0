"""Bodies of requests: each field is read by a function of its own, which says what is wrong with it."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from relay.frames.values import parse_name

Body = TypeVar("Body", bound="RequestBody")


class RequestBody(BaseModel):
    """The JSON object of one request. What we do not know is ignored; null is as if it were not there."""

    model_config = ConfigDict(extra="ignore", frozen=True)


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
        problems = []
        for found in error.errors(include_url=False):
            field = str(found["loc"][0])
            is_missing = found["type"] == "missing"
            cause = found.get("ctx", {}).get("error")
            said = missing.format(field) if is_missing else str(cause or f"{field} is not valid")
            problems.append((said, field, given.get(field)))
        raise BadBody(tuple(problems)) from error


def text(field: str) -> Any:
    """A reader of any text. It raises ValueError with the sentence, as the others do."""

    def parse(value: object) -> str:
        if isinstance(value, str):
            return value
        raise ValueError(f"{field} must be a string")

    return parse


def flag(field: str) -> Any:
    def parse(value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise ValueError(f"{field} must be a boolean")

    return parse


def label(field: str) -> Any:
    """A name for people."""

    def parse(value: object) -> str:
        try:
            return parse_name(value)
        except ValueError as error:
            raise ValueError(f"{field} must be a string of {error}") from error

    return parse
