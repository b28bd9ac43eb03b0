"""Style sheet and scripts: read once, and named by their content so that browsers keep them."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relay.frames.console.errors import NotHere

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_KEPT = "public, max-age=31536000, immutable"


def _load() -> Mapping[str, bytes]:
    folder = files("relay.frames.console") / "static"
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


_FILES = _load()
_VERSIONS = {name: hashlib.sha256(octets).hexdigest()[:12] for name, octets in _FILES.items()}


def url_of(name: str) -> str:
    """Where a page finds the file. Raises KeyError when there is none."""
    return f"/static/{_VERSIONS[name]}/{name}"


async def _serve(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _FILES or request.path_params["version"] != _VERSIONS[name]:
        raise NotHere("file")
    kind = _TYPES[name.rpartition(".")[2]]
    return Response(_FILES[name], media_type=f"{kind}; charset=utf-8", headers={"Cache-Control": _KEPT})


ROUTE = Route("/static/{version}/{name}", _serve, methods=["GET"])
