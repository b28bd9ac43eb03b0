"""Hostile values through the doors of a running relay, and each message judged at its next hop."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from relay.domain.changes import Put
from relay.domain.directory import SendingDomain
from relay.domain.events import Bounce, GenerationFailure, GenerationRejection
from relay.domain.ids import AccountId, TransmissionId
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import WITH_API
from tests.support import hostile, judged

SETTINGS: Mapping[str, Mapping[str, object]] = {**WITH_API, "http": {"requests_per_second": 1_000_000}}
ACME, ANYBODY = frozenset({"acme.test"}), None
"""Whose mail From may be in, by account: the first is bound to its domain, the second is not."""


def settings_for(examples: int, is_random: bool) -> settings:
    """So many examples; the same in every run, or new ones."""
    return settings(
        max_examples=examples,
        derandomize=not is_random,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


async def prove(
    strategy: st.SearchStrategy[Any], how: settings, one: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    """Put each drawn value to the proof, in the loop of the caller, and whether the account is bound."""
    loop = asyncio.get_running_loop()

    @how
    @given(value=strategy, is_bound=st.booleans())
    def each(value: Any, is_bound: bool) -> None:
        asyncio.run_coroutine_threadsafe(one(value, is_bound), loop).result()

    await asyncio.to_thread(each)


@asynccontextmanager
async def prover_of(relay: RelayHarness, mta: FakeMta) -> AsyncIterator["Prover"]:
    """The first account may send from acme.test alone, the second from anywhere."""
    await relay.change_account(1, lambda account: replace(account, require_sending_domain=True))
    await relay.apply(Put(SendingDomain(AccountId(1), "acme.test")))
    async with relay.api(1, over_socket=True) as bound, relay.api(2, over_socket=True) as free:
        yield Prover(relay, mta, {True: bound, False: free})


class Prover:
    """One relay, and what became of what it was given."""

    def __init__(self, relay: RelayHarness, mta: FakeMta, apis: dict[bool, httpx.AsyncClient]) -> None:
        self._relay, self._mta, self._apis = relay, mta, apis
        self.counts: Counter[str] = Counter()

    async def by_rest(self, given: hostile.Values, is_bound: bool) -> None:
        """Raises AssertionError when it is answered by a fault, is lost, or leaves as it must not."""
        self._mta.attempts.clear()
        octets = json.dumps(given).encode()
        answer = await self._apis[is_bound].post("/transmissions", content=octets)
        self.counts[str(answer.status_code)] += 1
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, (given, answer.text)
        await self._relay.quiet()
        came = list(self._mta.attempts)
        self.counts["mail"] += len(came)
        if answer.status_code != 200:
            assert came == [], (given, answer.text)
            return
        results = answer.json()["results"]
        told = [one.event for one in await self._events(results["id"])]
        refused = [
            event for event in told if isinstance(event, GenerationFailure | GenerationRejection | Bounce)
        ]
        self.counts["refused for one"] += len(refused)
        assert len(came) + len(refused) == results["total_accepted_recipients"], (given, told)
        for attempt in came:
            assert attempt.is_accepted, (given, attempt)
            assert judged.of_composed(attempt, ACME if is_bound else ANYBODY) == [], (given, attempt)
            if (parts := given["content"]).get("email_rfc822") is None:
                assert judged.of_parts(attempt, *_parts(parts)) == [], (given, attempt)

    async def by_smtp(self, given: tuple[str, str], is_bound: bool) -> None:
        """As `by_rest`, of a message and the options in its head."""
        message, options = given
        self._mta.attempts.clear()
        lines = message.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
        octets = b"X-MSYS-API: " + options.encode() + b"\r\n" + lines.encode("utf-8", "replace")
        code = await self._code_for(octets, 1 if is_bound else 2)
        self.counts[str(code)] += 1
        assert code == 250 or 500 <= code < 600, given
        await self._relay.quiet()
        came = list(self._mta.attempts)
        self.counts["mail"] += len(came)
        for attempt in came:
            assert attempt.is_accepted, (given, attempt)
            judge = judged.of_bound if is_bound else judged.of_all_mail
            assert judge(attempt) == [], (given, attempt)

    async def _code_for(self, message: bytes, account: int) -> int:
        try:
            await self._relay.inject("r@b.example", account=account, message=message)
        except InjectionRefusedError as error:
            return error.code
        return 250

    async def _events(self, id_: str) -> Any:
        return await self._relay.inside.store.events.of_transmission(TransmissionId(id_))


def _parts(content: hostile.Values) -> tuple[int, int]:
    """How many texts and how many files it has."""
    texts = sum(bool(content.get(name)) for name in ("text", "html", "amp_html"))
    return texts, len(content.get("attachments", ())) + len(content.get("inline_images", ()))
