"""One request of one person who has signed in: who, on whose behalf, and how they are answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relay.domain.authority import is_active
from relay.domain.changes import Changes
from relay.domain.directory import Account, Snapshot, Subaccount
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.users import Role, User
from relay.frames.caps import Caps
from relay.frames.change import change_directory
from relay.frames.console.errors import WebError
from relay.frames.console.forms import Form, query_of
from relay.frames.console.shown_once import Secret
from relay.frames.console.templating import render
from relay.frames.services import Services
from relay.frames.sign_in import SignedIn, actor_of, csrf_of

SESSION_COOKIE = "relay_session"
TOAST_COOKIE = "relay_toast"
_TOAST_LENGTH = 300


class Right(Enum):
    """What a page asks of the person."""

    LOOK = "look"
    CHANGE = "change"
    """Not for readers."""
    OPERATE = "operate"
    """For operators."""


MAY = {
    Role.OPERATOR: frozenset(Right),
    Role.ADMIN: frozenset({Right.LOOK, Right.CHANGE}),
    Role.READER: frozenset({Right.LOOK}),
}


def check_may_change(snapshot: Snapshot, user: User, account: AccountId) -> None:
    """Raises WebError 403: people of an account that is not active look and change nothing."""
    if Right.OPERATE not in MAY[user.role] and not is_active(snapshot, account):
        stored = snapshot.accounts.get(account)
        status = "gone" if stored is None else stored.status.value
        raise WebError(403, f"The account is {status}: you may look, and change nothing.")


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
    def actor(self) -> str:
        """What audit lines say."""
        return actor_of(self.user)

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
        return right in MAY[self.user.role]

    @property
    def caps(self) -> Caps | None:
        """Of the account; None for operators."""
        return None if self.is_operator else self.services.caps

    async def change(self, compute: Callable[[Snapshot], Changes]) -> Changes:
        """Write, in the person's name, what compute makes of the newest directory; what it made.

        Raises what compute raises, Conflict, StoreUnavailable, StaleDirectory.
        """
        return tuple(
            await change_directory(self.services.directory, compute, self.actor, self.judge, self.caps)
        )

    def judge(self, snapshot: Snapshot) -> None:
        """Raises WebError 403 when in this directory the person may change nothing."""
        check_may_change(snapshot, self.user, self.account.id)

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
