"""The use cases of one process, each found by its class: so the frames name no resource."""

from typing import TypeVar

Kind = TypeVar("Kind")


class UseCases:
    """`use_cases[Billing]` is the one `Billing` of the process."""

    def __init__(self, *made: object) -> None:
        self._made = {type(one): one for one in made}

    def __getitem__(self, kind: type[Kind]) -> Kind:
        """Raises KeyError for a kind that the process was not made with."""
        found = self._made[kind]
        assert isinstance(found, kind)
        return found
