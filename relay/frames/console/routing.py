"""Pages and what stands before each: the session, the account, the right, and the CSRF token."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relay.domain.directory import Account, Snapshot
from relay.domain.errors import NotGranted
from relay.frames.actor import MAY, Person, Right
from relay.frames.console.errors import NotHere, WebError
from relay.frames.console.forms import Form, read_form
from relay.frames.console.visit import SESSION_COOKIE, TOAST_COOKIE, Visit
from relay.frames.services import Services
from relay.frames.sign_in import SignedIn, is_csrf

Page = Callable[[Visit], Awaitable[Response]]
Stranger = Callable[[Request], Response]

_STALE = (
    "This form is too old, or did not come from this console. Go back, load the page again and repeat it."
)
_OTHER_ACCOUNT = "You act for another account now than when this form was shown. Nothing was changed."


class Pages:
    """The routes of one part of the console; a page is `async def page(visit) -> Response`."""

    def __init__(self, module: str) -> None:
        """module: where they are; the templates stand beside it."""
        self.routes: list[Route] = []
        self.package = module.rpartition(".")[0]

    def get(
        self, path: str, right: Right = Right.LOOK, stranger: Stranger | None = None
    ) -> Callable[[Page], Page]:
        """stranger: answers whoever has not signed in; None: they are sent to sign in."""
        return self._add(path, "GET", right, stranger)

    def post(self, path: str, right: Right = Right.CHANGE) -> Callable[[Page], Page]:
        return self._add(path, "POST", right)

    def _add(
        self, path: str, method: str, right: Right, stranger: Stranger | None = None
    ) -> Callable[[Page], Page]:
        def add(page: Page) -> Page:
            async def answer(request: Request) -> Response:
                return await _answer(request, page, right, stranger or _to_sign_in)

            self.routes.append(Route(path, answer, methods=[method], name=f"{method} {path}"))
            return page

        return add


async def _answer(request: Request, page: Page, right: Right, stranger: Stranger) -> Response:
    services = services_for(request)
    token = request.cookies.get(services.cookie(SESSION_COOKIE), "")
    signed_in = await services.sign_ins.of(token) if token else None
    if signed_in is None:
        return stranger(request)
    form = await guarded_form(request, token) if request.method == "POST" else Form()
    if right not in MAY[signed_in.user.role]:
        raise NotGranted
    snapshot = await services.directory.refresh()
    account = _account(snapshot, signed_in)
    if account is None:
        raise WebError(404, "There is no account yet. Make one: relay account create NAME --plan self_serve")
    if form["for_account"] and form["for_account"] != str(account.id):
        raise WebError(409, _OTHER_ACCOUNT)
    if request.method == "POST" and right is Right.CHANGE:
        Person.of(signed_in.user, account.id, services.caps).check(snapshot)
    toast = unquote(request.cookies.get(services.cookie(TOAST_COOKIE), ""))
    return await page(Visit(request, services, signed_in, token, snapshot, account, form, toast))


async def guarded_form(request: Request, secret: str) -> Form:
    """The form, which must come from a page of ours with a token made of secret. Raises WebError 403."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise WebError(403, _STALE)
    form = await read_form(request)
    # Anybody can make the token of an empty secret: that of a browser which brought no cookie.
    if not secret or not is_csrf(secret, form.raw("csrf")):
        raise WebError(403, _STALE)
    return form


def services_for(request: Request) -> Services:
    """Those of the application that answers the request."""
    services: Services = request.app.state.services
    return services


def local_path(asked: str) -> str:
    """The path to go on to, when it is one of ours; else the first page."""
    is_ours = asked.startswith("/") and not asked.startswith(("//", "/\\")) and asked.isprintable()
    return asked if is_ours and "\\" not in asked else "/"


def _to_sign_in(request: Request) -> Response:
    path = request.url.path
    if request.method == "GET":
        query = request.url.query
        return RedirectResponse(f"/sign-in?next={quote(path + ('?' + query if query else ''), safe='')}", 303)
    return RedirectResponse("/sign-in", 303)


def _account(snapshot: Snapshot, signed_in: SignedIn) -> Account | None:
    """The person's own; for an operator the chosen one, else the first. None: there is none at all."""
    chosen = signed_in.account
    if chosen is None or chosen not in snapshot.accounts:
        if signed_in.user.account is not None:
            raise NotHere("account")
        chosen = min(snapshot.accounts, default=None)
    return None if chosen is None else snapshot.accounts[chosen]
