"""The console of one relay in this process, and a way in for people."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property

import httpx
from playwright.async_api import Page

from relay.domain.errors import Conflict
from relay.domain.ids import AccountId
from relay.domain.users import Role
from relay.frames.sign_in import SignIns, csrf_of
from relay.net.ambient import SystemEntropy
from relay.net.passwords import Argon2Hasher
from relay.testing.harness import RelayHarness

WITH_CONSOLE: Mapping[str, Mapping[str, object]] = {"": {"roles": ["smtp", "api", "web", "egress"]}}
"""Settings of a relay that answers people too."""
PASSWORD = "correct horse battery staple"
"""Of everybody who was signed in by `Console.sign_in`."""
SESSION_COOKIE = "relay_session"
"""As it is called in clear text."""


class Console:
    """Where people find the relay."""

    def __init__(self, relay: RelayHarness) -> None:
        self.relay = relay

    @property
    def url(self) -> str:
        """Without a slash at the end; another one after each restart of the relay."""
        url = self.relay.inside.http_url
        assert url is not None
        return url

    @cached_property
    def sign_ins(self) -> SignIns:
        """On the relay's own users, with passwords that cost nothing to hash."""
        inside = self.relay.inside
        hasher = Argon2Hasher(passes=1, memory_kib=8)
        return SignIns(inside.store.users, hasher, self.relay.clock, SystemEntropy(), inside.directory)

    async def sign_in(
        self, page: Page, role: str = "admin", account: int = 1, name: str | None = None
    ) -> str:
        """Sign the window in as a user of that role and account; returns the name.

        An operator acts for the account. The user is made unless there is one of that name, which is
        `role-account` when none is given. The page itself stays where it is.
        """
        called, token = await self._session(role, account, name)
        await page.context.add_cookies(
            [
                {
                    "name": SESSION_COOKIE,
                    "value": token,
                    "url": self.url,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )
        return called

    @asynccontextmanager
    async def client(self, role: str = "admin", account: int = 1) -> AsyncIterator["Client"]:
        """Somebody of that role and account who has signed in without a browser."""
        _, token = await self._session(role, account, None)
        cookies = {SESSION_COOKIE: token}
        async with httpx.AsyncClient(base_url=self.url, cookies=cookies, timeout=20) as http:
            yield Client(http, {"csrf": csrf_of(token), "for_account": str(account)})

    async def _session(self, role: str, account: int, name: str | None) -> tuple[str, str]:
        """The name, and the token of a new session."""
        called = name or f"{role}-{account}"
        belongs_to = None if role == "operator" else AccountId(account)
        try:
            _, link = await self.sign_ins.add_user(called, Role(role), belongs_to, "test")
            token = await self.sign_ins.follow_link(link, PASSWORD, "127.0.0.1", "Chromium")
        except Conflict:
            token = await self.sign_ins.sign_in(called, PASSWORD, "127.0.0.1", "Chromium")
        if belongs_to is None:
            await self.sign_ins.act_for(token, AccountId(account))
        return called, token


class Client:
    """What a browser would send for a person, form by form."""

    def __init__(self, http: httpx.AsyncClient, guard: Mapping[str, str]) -> None:
        self._http, self._guard = http, guard

    async def get(self, path: str, **query: str) -> httpx.Response:
        return await self._http.get(path, params=query or None)

    async def post(self, path: str, form: Mapping[str, str | Sequence[str]] | None = None) -> httpx.Response:
        """The form with its token and the account that it was shown for; not followed."""
        return await self._http.post(path, data={**self._guard, **(form or {})})
