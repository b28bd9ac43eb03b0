"""A person's own page: password and sessions."""

from starlette.responses import Response

from relay.domain.errors import OverCapacity
from relay.domain.users import BadCredentials, SessionId, TooManyTries, UnfitPassword
from relay.frames.actor import Right
from relay.frames.console.client import tell_refusal
from relay.frames.console.errors import word_for_page
from relay.frames.console.forms import Form
from relay.frames.console.routing import Pages
from relay.frames.console.sign_in import too_many_tries
from relay.frames.console.visit import Visit

pages = Pages(__name__)


@pages.get("/profile")
async def profile(visit: Visit) -> Response:
    return await _shown(visit, Form())


@pages.post("/profile/password", Right.LOOK)
async def change_password(visit: Visit) -> Response:
    """One's own, which also ends one's other sessions."""
    form = visit.form
    if form.raw("password") != form.raw("again"):
        return await _shown(visit, form.wrong(again="The two are not the same."), 422)
    try:
        await visit.services.sign_ins.change_password(
            visit.user, form.raw("old"), form.raw("password"), visit.token
        )
    except BadCredentials:
        tell_refusal(visit.request, f"password user={visit.user.id}")
        return await _shown(visit, form.wrong(old="This is not your password."), 422)
    except UnfitPassword as error:
        return await _shown(visit, form.wrong(password=f"{error.detail.capitalize()}."), 422)
    except TooManyTries as error:
        tell_refusal(visit.request, "too_many_tries")
        return await _shown(visit, form.wrong(old=too_many_tries(error)), 429)
    except OverCapacity as error:
        return await _shown(visit, form.wrong(form_=word_for_page(error)), 503)
    return visit.go("/profile", "Password changed. Your other sessions have ended.")


@pages.post("/profile/sessions/{id}/end", Right.LOOK)
async def end_session(visit: Visit) -> Response:
    await visit.services.sign_ins.revoke(visit.user, SessionId(visit.path("id")))
    return visit.go("/profile", "Session ended.")


async def _shown(visit: Visit, form: Form, status: int = 200) -> Response:
    sessions = await visit.services.sign_ins.sessions(visit.user)
    return visit.page("profile.html", status, form=form, sessions=sessions, now=visit.services.clock.now())
