"""The table of words: a row for each refusal that somebody can be told, made of its own facts."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from relay.domain import errors, refusals
from relay.domain.words import ROWS, Door, Words, find_words, reason_for, say

ROOT = Path(__file__).parents[2]
INNER = {
    errors.IdTaken,
    errors.PeerUnreachable,
    errors.RecipientsSuppressed,
    errors.SourceUnplumbed,
}
"""Of these somebody else takes care: they become outcomes of messages, or are tried again."""
SENTENCES = [field.name for field in dataclasses.fields(Words) if field.name.endswith("says")]


def leaves(kind: type[errors.RelayError]) -> set[type[errors.RelayError]]:
    """Those of the tree; other modules may refine them for their own use."""
    below = [one for one in kind.__subclasses__() if one.__module__ in (errors.__name__, refusals.__name__)]
    return set().union(*map(leaves, below)) if below else {kind}


def named(sentence: str) -> set[str]:
    """The facts that a sentence is made of."""
    return set(re.findall(r"\{0\.(\w+)", sentence))


def test_each_refusal_has_its_row_and_each_row_its_refusal() -> None:
    told = leaves(errors.RelayError) - INNER
    assert {kind for kind in told if find_words(kind, "says") is None} == set()
    kinds = {one for kind in told for one in kind.__mro__}
    assert set(ROWS) <= kinds


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in ROWS])
def test_a_sentence_is_made_of_facts_that_the_refusal_has(kind: type[errors.RelayError]) -> None:
    facts = {*(field.name for field in dataclasses.fields(kind))} if dataclasses.is_dataclass(kind) else set()
    facts |= {name for name, value in vars(kind).items() if isinstance(value, property)}
    facts |= {"field"} & set(vars(errors.RelayError))
    assert {name for part in SENTENCES for name in named(getattr(ROWS[kind], part))} <= facts


def test_each_is_answered_somewhere() -> None:
    for kind in leaves(errors.RelayError) - INNER:
        assert any(find_words(kind, part) for part in ("smtp", "rest", "console")), kind


@pytest.mark.parametrize(
    ("door", "sentence"),
    [
        (Door.SMTP, "IP Pool 'news' is empty"),
        (Door.REST, "IP Pool 'news' is empty"),
        (Door.CONSOLE, "IP Pool 'news' is empty."),
        (Door.SHELL, "IP Pool 'news' is empty"),
        (Door.EVENT, "IP Pool 'news' is empty"),
    ],
)
def test_a_sentence_is_the_same_at_every_door_that_has_none_of_its_own(door: Door, sentence: str) -> None:
    assert say(errors.PoolEmpty("news"), door) == sentence


def test_a_door_without_a_code_for_it_has_no_answer() -> None:
    assert say(errors.OverIpLimit(4), Door.SMTP) is None
    assert say(errors.OverIpLimit(4), Door.CONSOLE) == "You can have at most 4 dedicated IPs."
    assert say(errors.IdTaken(), Door.SHELL) is None


def test_a_reason_has_a_code_and_what_nobody_is_told_has_none() -> None:
    assert reason_for(errors.PoolEmpty("news")) == "550 5.7.1 IP Pool 'news' is empty"
    assert reason_for(errors.UnknownDkimKey("k", "a.test")).startswith("550 5.7.1 Invalid DKIM key ID 'k'")
    with pytest.raises(errors.IdTaken):
        reason_for(errors.IdTaken())


def test_a_refusal_is_worded_once() -> None:
    """The demo beside it says what is expected, in the contract's words."""
    found = [
        path.relative_to(ROOT).as_posix()
        for path in sorted(ROOT.glob("relay/**/*.py"))
        if path.parent.name != "testing" and re.search(r"' is empty", path.read_text(encoding="utf-8"))
    ]
    assert found == ["relay/domain/words.py"]


def test_a_door_may_have_words_of_its_own_around_the_sentence() -> None:
    assert say(errors.Unsendable("line too long"), Door.REST) == "The message cannot be sent: line too long"
    assert say(refusals.PoolExists("news"), Door.CONSOLE) == "IP Pool news already exists."
    assert say(errors.StoreUnavailable(), Door.SMTP) == "Queue unavailable, try again later"


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (refusals.IpCarriesMail("192.0.2.1", 0), "still carries queued mail of the shared pool"),
        (refusals.IpCarriesMail("192.0.2.1", 7), "still carries queued mail of account 7"),
        (refusals.IpNotForMail("192.0.2.1", None, 7), "belongs to nobody: mail of account 7 may not leave"),
        (refusals.IpNotForMail("192.0.2.1", 8, 7), "belongs to account 8: mail of account 7 may not leave"),
        (refusals.AmbiguousKey("k", ("a", "b")), "k names 2 keys: use the beginning of a hash: a, b"),
        (refusals.UnknownGrants(("x",), ("a", "b")), "unknown grants x; known are a, b"),
        (
            refusals.IpsOverLimit(((1, "Acme", 5, 4), (2, "Two", 1, 0))),
            "account 1 (Acme) would have 5 dedicated IPs; its limit is 4; "
            "account 2 (Two) would have 1 dedicated IPs; the free plan has none",
        ),
    ],
)
def test_facts_become_a_sentence(refusal: errors.RelayError, sentence: str) -> None:
    assert sentence in str(refusal)


def test_no_refusal_is_raised_with_a_sentence() -> None:
    """But for what a reader found: that is the fact. An unknown object is named with where it is not."""
    readers = {"BadOptions", "Unsendable", "NotGranted", "BeyondMaker", "UnknownObject"}
    kinds = {kind.__name__ for kind in leaves(errors.RelayError) - INNER} - readers
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(ROOT.glob("relay/**/*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in kinds
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.count(" ") > 1
    ]
    assert found == []
