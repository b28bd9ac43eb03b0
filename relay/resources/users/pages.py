"""Operate → Users, and Account → Users: who may sign in. The second is the first within one account."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from relay.domain.errors import RelayError
from relay.domain.ids import AccountId
from relay.domain.users import Role, UnfitName, UnfitRole, User
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere, WebError, word_for_page
from relay.frames.console.forms import Form, fill, number_in
from relay.frames.console.lists import page_list
from relay.frames.console.routing import Page, Pages
from relay.frames.console.shown_once import Secret
from relay.frames.console.visit import Visit
from relay.frames.sign_in import LINK_PATH

pages = Pages(__name__)

_YOURSELF = "You cannot do that to yourself. Ask somebody else."
_LINK_USE = "Whoever opens it chooses the password: once, within 24 hours. Give it to nobody else"
_ROLES = (
    (Role.OPERATOR, "Operator: everything, for any account"),
    (Role.ADMIN, "Admin: everything in one account"),
    (Role.READER, "Reader: looks at one account"),
)


@dataclass(frozen=True, slots=True)
class UsersScope:
    """Whose users a page is about."""

    path: str
    account: AccountId | None
    """None: all of the installation."""

    @property
    def roles(self) -> Sequence[tuple[str, str]]:
        """Those that may be given here."""
        return [
            (role.value, label) for role, label in _ROLES if self.account is None or role is not Role.OPERATOR
        ]


def user_state(user: User) -> str:
    if user.is_disabled:
        return "disabled"
    return "active" if user.password_hash else "invited"


async def list_users(visit: Visit) -> Response:
    scope = _scope(visit)
    asked = visit.query["q"].casefold()
    found = [
        user
        for user in await visit.services.sign_ins.users(scope.account)
        if asked in user.name.casefold() or asked == user.role
    ]
    return visit.page(
        "users/list.html",
        scope=scope,
        form=visit.query,
        users=page_list(found, visit.query),
        states={user.id: user_state(user) for user in found},
    )


async def show_add(visit: Visit) -> Response:
    scope = _scope(visit)
    return _add_page(visit, fill(role=Role.READER.value, account=str(visit.account.id)), scope)


async def add(visit: Visit) -> Response:
    scope, form = _scope(visit), visit.form
    if form["role"] not in dict(scope.roles):
        return _add_page(visit, form.wrong(role="Choose one of these"), scope, 422)
    role, account = Role(form["role"]), scope.account
    if account is None and role is not Role.OPERATOR:
        account = AccountId(number_in(form["account"]) or 0)
        if account not in visit.snapshot.accounts:
            return _add_page(visit, form.wrong(account="Choose the account"), scope, 422)
    try:
        if visit.actor.caps is not None:
            visit.actor.caps.check_users(len(await visit.services.sign_ins.users(account)))
        user, token = await visit.services.sign_ins.add_user(form["name"], role, account, visit.actor.name)
    except (UnfitName, UnfitRole) as error:
        text = "Required" if not form["name"] else f"{error.detail[:1].upper()}{error.detail[1:]}."
        return _add_page(visit, form.wrong(name=text), scope, 422)
    except RelayError as error:
        return _add_page(visit, form.wrong(name=word_for_page(error)), scope, 409)
    return _to_link(visit, scope, user, token, f"Added user {user.name}.")


async def show_link(visit: Visit) -> Response:
    return visit.secret_page(_scope(visit).path, "Users")


async def new_link(visit: Visit) -> Response:
    """An earlier link is no longer good; the password holds until this one is followed."""
    scope, user = _scope(visit), await _user(visit)
    _, token = await visit.services.sign_ins.new_link(user.name, visit.actor.name)
    return _to_link(visit, scope, user, token, f"Made a sign-in link for {user.name}.")


async def disable(visit: Visit) -> Response:
    user = _but_oneself(visit, await _user(visit))
    await visit.services.sign_ins.set_disabled(user.name, True, visit.actor.name)
    return visit.go(_scope(visit).path, f"Disabled {user.name}, who is signed out.")


async def enable(visit: Visit) -> Response:
    user = await _user(visit)
    await visit.services.sign_ins.set_disabled(user.name, False, visit.actor.name)
    said = "" if user.password_hash else " They need a new link."
    return visit.go(_scope(visit).path, f"Enabled {user.name}.{said}")


async def show_remove(visit: Visit) -> Response:
    user = await _user(visit)
    return visit.page("users/remove.html", scope=_scope(visit), user=user, form=Form())


async def remove(visit: Visit) -> Response:
    scope, user = _scope(visit), _but_oneself(visit, await _user(visit))
    try:
        await visit.services.sign_ins.remove_user(user.name, visit.actor.name)
    except RelayError as error:
        form = visit.form.wrong(form_=word_for_page(error))
        return visit.page("users/remove.html", 409, scope=scope, user=user, form=form)
    return visit.go(scope.path, f"Removed user {user.name}.")


_PAGES: Sequence[tuple[str, str, Page]] = (
    ("GET", "", list_users),
    ("GET", "/create", show_add),
    ("POST", "/create", add),
    ("GET", "/link/{name}", show_link),
    ("POST", "/{id}/link", new_link),
    ("POST", "/{id}/disable", disable),
    ("POST", "/{id}/enable", enable),
    ("GET", "/{id}/remove", show_remove),
    ("POST", "/{id}/remove", remove),
)
for _method, _path, _page in _PAGES:
    for _base, _right in (("/operate/users", Right.OPERATE), ("/account/users", Right.CHANGE)):
        _register = pages.get if _method == "GET" else pages.post
        _register(_base + _path, _right)(_page)


def _scope(visit: Visit) -> UsersScope:
    # The path that was routed by: a URL is made with the Host field, which the client writes.
    if visit.request.scope["path"].startswith("/operate/"):
        return UsersScope("/operate/users", None)
    return UsersScope("/account/users", visit.account.id)


async def _user(visit: Visit) -> User:
    found = await visit.services.sign_ins.users(_scope(visit).account)
    number = number_in(visit.path("id"))
    user = next((user for user in found if user.id == number), None)
    if user is None:
        raise NotHere("user")
    return user


def _but_oneself(visit: Visit, user: User) -> User:
    """Nobody shuts themselves out by accident."""
    if user.id == visit.user.id:
        raise WebError(409, _YOURSELF)
    return user


def _to_link(visit: Visit, scope: UsersScope, user: User, token: str, said: str) -> Response:
    url = f"{visit.services.base_url}{LINK_PATH}{token}"
    secret = Secret(url, f"Sign-in link of {user.name}", _LINK_USE, scope.path, "Users")
    return visit.go_to_secret(f"{scope.path}/link", secret, said)


def _add_page(visit: Visit, form: Form, scope: UsersScope, status: int = 200) -> Response:
    accounts = [(str(one.id), f"{one.name} ({one.id})") for one in visit.accounts]
    return visit.page("users/add.html", status, form=form, scope=scope, accounts=accounts)
