"""Signing in and out: by name and password, and by one-time link."""

import secrets
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from relay.domain.errors import OverCapacity
from relay.domain.users import BadCredentials, BadLink, TooManyTries, UnfitPassword, User
from relay.frames.actor import Right
from relay.frames.console.client import client_of, tell_refusal
from relay.frames.console.errors import word_for_page
from relay.frames.console.forms import Form, query_of
from relay.frames.console.routing import Pages, guarded_form, local_path, services_for
from relay.frames.console.templating import render, span
from relay.frames.console.visit import SESSION_COOKIE, Visit
from relay.frames.services import Services
from relay.frames.sign_in import LINK_PATH, csrf_of

_VISITOR = "relay_visitor"
"""A cookie for whoever has not signed in: forms carry a token made of it."""
_WRONG = "Name and password do not go together."
_OLD_LINK = "This link was used already, or is too old. Ask for another: relay user link NAME"

pages = Pages(__name__)


async def _show(request: Request) -> Response:
    services = services_for(request)
    token = request.cookies.get(services.cookie(SESSION_COOKIE), "")
    if token and await services.sign_ins.of(token) is not None:
        return RedirectResponse(local_path(query_of(request)["next"]), 303)
    return _form(request, Form())


async def _sign_in(request: Request) -> Response:
    services = services_for(request)
    form = await guarded_form(request, _visitor(request))
    try:
        token = await services.sign_ins.sign_in(
            form["name"],
            form.raw("password"),
            client_of(request),
            request.headers.get("user-agent", ""),
            request.cookies.get(services.cookie(SESSION_COOKIE)),
        )
    except BadCredentials as error:
        tell_refusal(request, error.reason)
        return _form(request, form.wrong(form_=_WRONG), 403)
    except TooManyTries as error:
        tell_refusal(request, "too_many_tries")
        return _form(request, form.wrong(form_=too_many_tries(error)), 429)
    except OverCapacity as error:
        return _form(request, form.wrong(form_=word_for_page(error)), 503)
    return _welcome(services, token, local_path(form["next"]))


async def _show_link(request: Request) -> Response:
    try:
        user = await services_for(request).sign_ins.link(request.path_params["token"])
    except BadLink:
        tell_refusal(request, "link")
        return _form(request, Form().wrong(form_=_OLD_LINK), 404)
    return _link_form(request, user, Form())


async def _follow_link(request: Request) -> Response:
    services = services_for(request)
    form = await guarded_form(request, _visitor(request))
    link = request.path_params["token"]
    try:
        user = await services.sign_ins.link(link)
        if form.raw("password") != form.raw("again"):
            return _link_form(request, user, form.wrong(again="The two are not the same."), 422)
        agent = request.headers.get("user-agent", "")
        token = await services.sign_ins.follow_link(link, form.raw("password"), client_of(request), agent)
    except BadLink:
        tell_refusal(request, "link")
        return _form(request, Form().wrong(form_=_OLD_LINK), 404)
    except UnfitPassword as error:
        return _link_form(request, user, form.wrong(password=f"{error.detail.capitalize()}."), 422)
    except OverCapacity as error:
        return _link_form(request, user, form.wrong(form_=word_for_page(error)), 503)
    return _welcome(services, token, "/")


pages.routes += [
    Route("/sign-in", _show, methods=["GET"]),
    Route("/sign-in", _sign_in, methods=["POST"]),
    Route(LINK_PATH + "{token}", _show_link, methods=["GET"]),
    Route(LINK_PATH + "{token}", _follow_link, methods=["POST"]),
]


def too_many_tries(error: TooManyTries) -> str:
    """When the next try is possible."""
    return f"Too many tries. The next one is possible in {span(timedelta(seconds=error.wait_s))}."


@pages.post("/sign-out", Right.LOOK)
async def sign_out(visit: Visit) -> Response:
    await visit.services.sign_ins.sign_out(visit.token)
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(
        visit.services.cookie(SESSION_COOKIE), secure=visit.services.is_secure, httponly=True
    )
    return response


@pages.post("/act-for", Right.OPERATE)
async def act_for(visit: Visit) -> Response:
    """Look at another account from now on."""
    asked = visit.form["account"]
    known = {str(account.id): account for account in visit.accounts}
    if asked not in known:
        return visit.go(local_path(visit.form["next"]), f"There is no account {asked}.")
    account = known[asked]
    await visit.services.sign_ins.act_for(visit.token, account.id)
    return visit.go(_common_path(visit.form["next"]), f"You now act for {account.name}.")


def _common_path(asked: str) -> str:
    """The same part of the console without what belongs to one account: of an edited pool, the list."""
    parts = local_path(asked).split("?")[0].split("/")
    return "/".join(parts[:3]) or "/"


def _welcome(services: Services, token: str, path: str) -> Response:
    response = RedirectResponse(path, 303)
    response.set_cookie(
        services.cookie(SESSION_COOKIE),
        token,
        path="/",
        httponly=True,
        samesite="lax",
        secure=services.is_secure,
    )
    response.delete_cookie(services.cookie(_VISITOR), secure=services.is_secure, httponly=True)
    return response


def first_page(request: Request) -> Response:
    """What a stranger sees first: programs that look for SparkPost at the base address find its name."""
    return _form(request, Form())


def _form(request: Request, form: Form, status: int = 200) -> Response:
    after = form["next"] or query_of(request)["next"]
    return _with_visitor(request, "sign_in.html", status, form=form, next=local_path(after))


def _link_form(request: Request, user: User, form: Form, status: int = 200) -> Response:
    return _with_visitor(request, "sign_in_link.html", status, form=form, user=user)


def _with_visitor(request: Request, template: str, status: int, **values: object) -> Response:
    """The page, whose form only the browser that got it can send."""
    known = _visitor(request)
    visitor = known or secrets.token_urlsafe(32)
    response = HTMLResponse(render(template, csrf=csrf_of(visitor), **values), status)
    if not known:
        services = services_for(request)
        response.set_cookie(
            services.cookie(_VISITOR), visitor, httponly=True, samesite="lax", secure=services.is_secure
        )
    return response


def _visitor(request: Request) -> str:
    """Empty for a browser that has not been here."""
    return request.cookies.get(services_for(request).cookie(_VISITOR), "")
