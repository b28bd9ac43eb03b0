"""`relay user`: who may sign in to the web console."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from relay.config.config import Config
from relay.config.values import Endpoint
from relay.domain.ids import AccountId
from relay.domain.refusals import NoFirstOperator
from relay.domain.users import Role, User
from relay.frames.commands.printing import make_plain, print_json, print_line, print_rows, warn
from relay.frames.commands.session import ConfigOption, JsonOption, ShellSession, in_store
from relay.frames.sign_in import LINK_PATH, SignIns

users = typer.Typer(help="People who sign in to the web console.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What they sign in with.")]

Result = TypeVar("Result")


@users.command("add")
def add_user(
    name: NameArgument,
    role: Annotated[Role, typer.Option("--role", help="What they may do.")],
    account: Annotated[
        int | None, typer.Option("--account", min=1, help="Whose things they see; not for operators.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Add a user, and show the link by which they set their password.

    An operator may do everything, an admin everything in one account, a reader only look at it. The
    name is an e-mail address or a plain name. The link works once, within 24 hours.

    Example: relay user add jane@example.com --role admin --account 1
    """
    number = AccountId(account) if account else None

    async def work(sign_ins: SignIns, session: ShellSession) -> tuple[User, str]:
        user, token = await sign_ins.add_user(name, role, number, session.actor)
        return user, link_url(session.config, token)

    _show_link(*_with_users(config, work, may_create=True), json)


@users.command("list")
def list_users(
    account: Annotated[int | None, typer.Option("--account", min=1, help="Of this account alone.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List users with their roles.

    One that is invited has not followed the link yet.

    Example: relay user list
    """
    number = AccountId(account) if account else None

    async def work(sign_ins: SignIns, session: ShellSession) -> list[User]:
        return await sign_ins.users(number)

    print_rows([_user(user) for user in _with_users(config, work)], json, "no users")


@users.command("remove")
def remove_user(name: NameArgument, config: ConfigOption = None) -> None:
    """Remove a user, who is signed out at once.

    Example: relay user remove jane@example.com
    """

    async def work(sign_ins: SignIns, session: ShellSession) -> User:
        return await sign_ins.remove_user(name, session.actor)

    print_line(f"user {make_plain(_with_users(config, work).name)} removed")


@users.command("disable")
def disable_user(name: NameArgument, config: ConfigOption = None) -> None:
    """Keep a user from signing in.

    They are signed out at once. `relay user enable` undoes it.

    Example: relay user disable jane@example.com
    """

    async def work(sign_ins: SignIns, session: ShellSession) -> User:
        return await sign_ins.set_disabled(name, True, session.actor)

    print_line(f"user {make_plain(_with_users(config, work).name)} disabled")


@users.command("enable")
def enable_user(name: NameArgument, config: ConfigOption = None) -> None:
    """Let a user sign in again.

    Example: relay user enable jane@example.com
    """

    async def work(sign_ins: SignIns, session: ShellSession) -> User:
        return await sign_ins.set_disabled(name, False, session.actor)

    print_line(f"user {make_plain(_with_users(config, work).name)} enabled")


@users.command("link")
def link_user(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show a new link by which a user sets a password, as when it is forgotten.

    An earlier link works no longer. The present password does until this one is followed.

    Example: relay user link jane@example.com
    """

    async def work(sign_ins: SignIns, session: ShellSession) -> tuple[User, str]:
        user, token = await sign_ins.new_link(name, session.actor)
        return user, link_url(session.config, token)

    _show_link(*_with_users(config, work), json)


@users.command("first-link")
def first_link(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show a link by which the first operator comes in, while nobody has signed in yet.

    The operator admin is made, and chooses a password by it: once, within 24 hours. An earlier link
    works no longer. The relay need not run. Later on, `relay user link NAME` helps who forgot a password.

    Example: relay user first-link
    """

    async def work(sign_ins: SignIns, session: ShellSession) -> tuple[User, str]:
        made = await sign_ins.first_link(session.actor)
        if made is None:
            raise NoFirstOperator()
        user, token = made
        return user, link_url(session.config, token)

    _show_link(*_with_users(config, work, may_create=True), json)


def link_url(config: Config, token: str) -> str:
    """Where the console takes the link, as far as the configuration tells.

    At `http.public_url` if that is set; else where it listens, under the name of this host when that
    is on all addresses.
    """
    if config.http.public_url:
        return f"{config.http.public_url}{LINK_PATH}{token}"
    scheme = "https" if config.http.certificate is not None else "http"
    listen = config.http.listen
    host = config.hostname if listen.host in ("0.0.0.0", "::") else listen.host
    return f"{scheme}://{Endpoint(host, listen.port)}{LINK_PATH}{token}"


def _with_users(
    path: Path | None,
    work: Callable[[SignIns, ShellSession], Awaitable[Result]],
    *,
    may_create: bool = False,
) -> Result:
    """What work returns. Raises what `in_store` and work raise."""

    async def run(session: ShellSession) -> Result:
        return await work(await session.sign_ins(), session)

    return in_store(path, run, may_create=may_create)


def _show_link(user: User, url: str, as_json: bool) -> None:
    if as_json:
        print_json({**_user(user), "link": url})
    else:
        print_line(url)
        warn(f"By this link {make_plain(user.name)} sets a password: once, within 24 hours.")


def _user(user: User) -> dict[str, object]:
    return {
        "name": user.name,
        "role": user.role.value,
        "account": user.account,
        "state": _state(user),
        "created": user.created,
    }


def _state(user: User) -> str:
    if user.is_disabled:
        return "disabled"
    return "active" if user.password_hash else "invited"
