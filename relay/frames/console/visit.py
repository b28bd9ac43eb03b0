"""One request of one person who has signed in: who, on whose behalf, and how they are answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relay.domain.changes import Changes
from relay.domain.directory import Account, Snapshot, Subaccount
from relay.domain.ids import SubaccountId
from relay.domain.users import User
from relay.frames.actor import Person, Right
from relay.frames.change import change_directory
from relay.frames.console.forms import Form, query_of
from relay.frames.console.shown_once import Secret
from relay.frames.console.templating import render
from relay.frames.services import Services
from relay.frames.sign_in import SignedIn, csrf_of

SESSION_COOKIE = "relay_session"
TOAST_COOKIE = "relay_toast"
_TOAST_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Visit:
    """A request with what is known of it. The account is the person's own, or the operator's choice."""

    request: Request
    services: Services
    signed_in: SignedIn
    token: str
    """Of the session."""
    snapshot: Snapshot
    account: Account
    form: Form
    """Of a POST, its CSRF token already checked; else empty."""
    toast: str = ""
    """What the request before this one has done."""

    @property
    def user(self) -> User:
        return self.signed_in.user

    @property
    def actor(self) -> Person:
        """The person, as use cases know them."""
        return Person.of(self.user, self.account.id, self.services.caps)

    @property
    def csrf(self) -> str:
        return csrf_of(self.token)

    @property
    def query(self) -> Form:
        return query_of(self.request)

    @property
    def is_operator(self) -> bool:
        return self.may(Right.OPERATE)

    @property
    def may_change(self) -> bool:
        return self.may(Right.CHANGE)

    @property
    def accounts(self) -> Sequence[Account]:
        """Those the person may look at."""
        if not self.is_operator:
            return (self.account,)
        return sorted(self.snapshot.accounts.values(), key=lambda account: account.id)

    @property
    def subaccounts(self) -> Mapping[SubaccountId, Subaccount]:
        """Those of the account, by number."""
        owned = [one for one in self.snapshot.subaccounts.values() if one.account == self.account.id]
        return {one.id: one for one in sorted(owned, key=lambda one: one.id)}

    def path(self, name: str) -> str:
        """A part of the path, decoded: what stands for `{name}` in the route."""
        return str(self.request.path_params[name])

    def may(self, right: Right) -> bool:
        return self.actor.may(right)

    async def change(self, compute: Callable[[Snapshot], Changes]) -> Changes:
        """Write, in the person's name, what compute makes of the newest directory; what it made.

        Raises what compute raises, NotGranted, OverCap, Conflict, StoreUnavailable, StaleDirectory.
        """
        return tuple(await change_directory(self.services.directory, compute, self.actor))

    def page(self, template: str, status: int = 200, **values: object) -> Response:
        """The template as an answer; it also gets `visit`."""
        response = HTMLResponse(render(template, visit=self, **values), status)
        if self.toast:
            services = self.services
            response.delete_cookie(services.cookie(TOAST_COOKIE), secure=services.is_secure, httponly=True)
        return response

    def go(self, path: str, said: str = "") -> Response:
        """On to another page after a change. said: shown there once."""
        response = RedirectResponse(path, 303)
        if said:
            shown = said if len(said) <= _TOAST_LENGTH else said[:_TOAST_LENGTH] + "…"
            response.set_cookie(
                self.services.cookie(TOAST_COOKIE),
                quote(shown),
                max_age=60,
                httponly=True,
                samesite="lax",
                secure=self.services.is_secure,
            )
        return response

    def go_to_secret(self, path: str, secret: Secret, said: str) -> Response:
        """On to the page below path that shows the secret to this session, one time."""
        name = self.services.secrets.put(self.signed_in.session.id, secret, self.services.clock.now())
        return self.go(f"{path}/{name}", said)

    def secret_page(self, path: str, label: str) -> Response:
        """The secret that the path's `{name}` names; the second time, that there is none any more.

        path, label: where the person goes on to, and what that is called.
        """
        services = self.services
        secret = services.secrets.take(self.signed_in.session.id, self.path("name"), services.clock.now())
        return self.page("once.html", 200 if secret else 410, secret=secret, back=(path, label))
