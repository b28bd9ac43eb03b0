"""What a person is told when something cannot be done."""

from relay.domain.errors import RelayError
from relay.domain.words import Door, find_words, say


class WebError(Exception):
    """A request that ends with this status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class NotHere(WebError):
    """Nothing has this address, or it is not for this person to see; the same answer for both."""

    def __init__(self, what: str = "page") -> None:
        super().__init__(404, f"There is no such {what}.")


def page_error(error: RelayError) -> WebError | None:
    """The error in words; None for a bug of ours."""
    said = say(error, Door.CONSOLE)
    return None if said is None else WebError(find_words(type(error), "console"), said)


def word_for_page(error: RelayError) -> str:
    """The words alone, for a place beside the form. Raises the error itself when it is a bug of ours."""
    found = page_error(error)
    if found is None:
        raise error
    return found.sentence
