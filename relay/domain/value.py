"""What a message is made of: values that nobody changes."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """As `dataclass(frozen=True, slots=True)`, for what is made once a message or more often.

    That a field is not assigned to is the type checker's to see: with the interpreter looking too, at
    each of two hundred fields, an eighth of a message's bytecode was spent on making values.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
