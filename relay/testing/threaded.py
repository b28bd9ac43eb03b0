"""A whole relay in a thread of its own, for tests whose mail is sent by code that blocks."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from relay.domain.message import Message
from relay.frames.rest.errors import BASE
from relay.sink.fake_mta import FakeMta
from relay.sink.orders import Attempt
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API

T = TypeVar("T")

_LIMIT_S = 30.0


class ThreadedRelay:
    """One relay, with its next hop, in a thread: `with ThreadedRelay(folder) as server`.

    Its time stands still until `advance`. Every method may be called from any thread, and blocks.
    """

    user = "SMTP_Injection"
    """User name for SMTP AUTH; the password is `key`."""

    def __init__(
        self,
        folder: Path,
        *,
        directory: str | None = None,
        settings: Mapping[str, Mapping[str, object]] | None = None,
    ) -> None:
        """directory, settings: as for RelayHarness; it answers HTTP too, unless settings name other roles."""
        self._folder, self._directory = folder, directory
        self._settings = {**(settings or {})}
        self._settings[""] = {**WITH_API[""], **self._settings.get("", {})}
        self._thread = threading.Thread(target=self._live, name="relay under test", daemon=True)
        self._ready = threading.Event()
        self._failed: BaseException | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it takes mail. Raises what kept it from starting."""
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            self._thread.join()
            raise self._failed

    def stop(self) -> None:
        """Stop in good order. Raises what ended it before that."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_LIMIT_S)
        if self._failed is not None:
            raise self._failed

    @property
    def smtp_address(self) -> tuple[str, int]:
        """Host and port to inject at."""
        return self._relay.smtp_address

    @cached_property
    def key(self) -> str:
        """An API key of the first account, with every grant: for REST, and the password for SMTP."""
        return self.make_key(min(self._relay.inside.directory.snapshot.accounts, default=1))

    @property
    def api_url(self) -> str:
        """Such as `http://127.0.0.1:40123/api/v1`. Raises RuntimeError without the role api."""
        host, port = self._relay.http_address
        return f"http://{host}:{port}{BASE}"

    def make_key(self, account: int = 1) -> str:
        """The text of a new key of that account, with every grant."""
        return self.call(lambda relay: relay.make_key(account))

    def arrived(self, recipient: str | None = None) -> list[Attempt]:
        """What the next hop took, oldest first: `peer_ip`, `mail_from`, `recipient`, `content` of each."""
        taken = self.mta(lambda mta: mta.accepted)
        return [one for one in taken if recipient is None or one.recipient.lower() == recipient.lower()]

    def wait_until_quiet(self, timeout_s: float = 20) -> list[Message]:
        """Wait until no message is on its way or due; what waits in the queue. Raises TimeoutError."""
        return self.call(lambda relay: relay.quiet(timeout_s))

    def advance(self, **step: float) -> None:
        """Move its time forward: `advance(minutes=20)`; days, hours, seconds, milliseconds too."""
        self._now(lambda: self._relay.clock.advance(**step))

    def mta(self, work: Callable[[FakeMta], T]) -> T:
        """Tell the next hop something, or ask it: `mta(lambda mta: mta.answer("b@x.test", "451 later"))`."""
        return self._now(lambda: work(self._mta))

    def call(self, work: Callable[[RelayHarness], Awaitable[T]]) -> T:
        """Anything else of the relay: `call(lambda relay: relay.delete_pool("marketing"))`."""

        async def awaited() -> T:
            return await work(self._relay)

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(_LIMIT_S)

    def _now(self, work: Callable[[], T]) -> T:
        async def awaited() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(_LIMIT_S)

    def _live(self) -> None:
        """The thread's life."""
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
            self._failed = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        settings: dict[str, Any] = self._settings
        async with FakeMta() as self._mta:
            relay = RelayHarness(self._folder, self._mta, directory=self._directory, settings=settings)
            async with relay as self._relay:
                self._ready.set()
                await self._stopping.wait()
