"""Account → API Keys: who may send and ask, by SMTP and REST."""

from starlette.responses import Response

from relay.domain.directory import GRANTS, SUBACCOUNT_GRANTS
from relay.domain.errors import RelayError
from relay.frames.actor import Right
from relay.frames.console.errors import word_for_page
from relay.frames.console.forms import Form, fill
from relay.frames.console.lists import page_list
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.resources.api_keys.rules import create_key, new_key, revoke_key
from relay.resources.api_keys.words import (
    FOR_ACCOUNT,
    FOR_ALL,
    LIST,
    _row,
    _subaccount_asked,
    key_rows,
    key_secret,
    read_key,
)

pages = Pages(__name__)


@pages.get(LIST)
async def list_keys(visit: Visit) -> Response:
    asked = visit.query["q"].casefold()
    rows = [
        row
        for row in key_rows(visit)
        if asked in row.key.label.casefold()
        or row.key.short.startswith(asked)
        or (row.subaccount is not None and asked in row.subaccount.name.casefold())
    ]
    return visit.page("api_keys/list.html", form=visit.query, keys=page_list(rows, visit.query))


@pages.get(f"{LIST}/create", Right.CHANGE)
async def show_create(visit: Visit) -> Response:
    return _create_page(visit, fill(permissions="all", subaccount=visit.query["subaccount"]))


@pages.post(f"{LIST}/create")
async def create(visit: Visit) -> Response:
    subaccount, form = _subaccount_asked(visit, visit.form)
    asked, form = read_key(form, GRANTS if subaccount is None else SUBACCOUNT_GRANTS)
    if form.errors:
        return _create_page(visit, form, 422)
    text, key = new_key(visit.account.id, asked.label, asked.grants, subaccount, asked.valid_ips)
    try:
        await visit.change(lambda snapshot: create_key(snapshot, key, visit.actor))
    except RelayError as error:
        return _create_page(visit, form.wrong(form_=word_for_page(error)), 409)
    back = LIST if subaccount is None else f"/account/subaccounts/edit/{subaccount}/api-keys"
    secret = key_secret(text, key, back, "API Keys")
    return visit.go_to_secret(f"{LIST}/created", secret, f"Created API key {key.label}.")


@pages.get(LIST + "/created/{name}", Right.CHANGE)
async def show_created(visit: Visit) -> Response:
    return visit.secret_page(LIST, "API Keys")


@pages.get(LIST + "/{key}/revoke", Right.CHANGE)
async def show_revoke(visit: Visit) -> Response:
    return visit.page("api_keys/revoke.html", row=_row(visit), form=Form())


@pages.post(LIST + "/{key}/revoke")
async def revoke(visit: Visit) -> Response:
    """Dead at once, for SMTP too."""
    row = _row(visit)
    try:
        await visit.change(lambda snapshot: revoke_key(snapshot, row.key, visit.actor))
    except RelayError as error:
        form = visit.form.wrong(form_=word_for_page(error))
        return visit.page("api_keys/revoke.html", 409, row=row, form=form)
    return visit.go(LIST, f"Revoked API key {row.key.label}.")


def _create_page(visit: Visit, form: Form, status: int = 200) -> Response:
    owned = sorted(visit.subaccounts.values(), key=lambda entry: entry.name.casefold())
    return visit.page(
        "api_keys/create.html",
        status,
        form=form,
        subaccounts=[
            ("", "None: the account itself"),
            *((one.id, f"{one.name} ({one.id})") for one in owned),
        ],
        for_all=FOR_ALL,
        for_account=FOR_ACCOUNT,
    )
