"""One request of one person who has signed in: who, on whose behalf, and how they are answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relay.domain.directory import Account, Snapshot
from relay.domain.users import Role, User
from relay.service.sign_in import SignedIn, csrf_of
from relay.web.forms import Form, query_of
from relay.web.services import Services
from relay.web.templating import render

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
        return f"user:{self.user.name}"

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

    def path(self, name: str) -> str:
        """A part of the path, decoded: what stands for `{name}` in the route."""
        return str(self.request.path_params[name])

    def may(self, right: Right) -> bool:
        return right in MAY[self.user.role]

    def page(self, template: str, status: int = 200, **values: object) -> Response:
        """The template as an answer; it also gets `visit`."""
        response = HTMLResponse(render(template, visit=self, **values), status)
        if self.toast:
            response.delete_cookie(TOAST_COOKIE)
        return response

    def go(self, path: str, said: str = "") -> Response:
        """On to another page after a change. said: shown there once."""
        response = RedirectResponse(path, 303)
        if said:
            shown = said if len(said) <= _TOAST_LENGTH else said[:_TOAST_LENGTH] + "…"
            response.set_cookie(
                TOAST_COOKIE,
                quote(shown),
                max_age=60,
                httponly=True,
                samesite="lax",
                secure=self.services.is_secure,
            )
        return response
