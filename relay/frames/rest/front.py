"""`/` of a process without a console: what answers here, for people and for programs that look for it."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from relay.frames.rest.errors import BASE

router = APIRouter()

_PAGE = f"""<!doctype html><html lang=en><meta charset=utf-8><title>relay</title>
<meta name=viewport content='width=device-width'><h1>relay</h1>
<p>A relay with the REST API of SparkPost under <code>{BASE}</code>:
<a href='/api/docs'>its description</a>.</p>
</html>
"""
_HEADERS = {"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}


@router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def front(request: Request) -> HTMLResponse:
    return HTMLResponse(_PAGE, headers=_HEADERS)
