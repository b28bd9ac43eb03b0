"""The frame of all REST answers: results, or errors."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, WithJsonSchema

Shape = TypeVar("Shape")

PageSize = Annotated[str, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 100})]


class Results(BaseModel, Generic[Shape]):
    """What was asked for."""

    results: Shape


class Links(BaseModel):
    next: str | None = None
    """The next page; absent on the last one."""


class Page(BaseModel, Generic[Shape]):
    """A part of a list."""

    results: list[Shape]
    total_count: int
    links: Links


class Link(BaseModel):
    """Another page of a list that is walked through by relation."""

    href: str
    rel: Literal["first", "next"]


class LinkedPage(BaseModel, Generic[Shape]):
    """A part of a list; no links when it is the whole."""

    results: list[Shape]
    total_count: int
    links: list[Link]


NOTICE_HEADER = "X-Relay-Notice"
"""What was asked for and was not done, beside an answer that says what was."""


class Message(BaseModel):
    message: str


class Problem(BaseModel):
    """One thing that is wrong. Only message is always there."""

    message: str
    description: str | None = None
    code: str | None = None
    param: str | None = None
    value: object = None
    part: str | None = None
    """Of a content: `text`, `html`, `amp_html`, `Header:Subject`."""
    line: int | None = None
    """In that part."""


class Errors(BaseModel):
    """Why a request was refused."""

    errors: list[Problem]
