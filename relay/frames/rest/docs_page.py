"""`/api/docs`: the description of the API as one page that loads nothing from anywhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter()

_REFERENCE = "#/components/schemas/"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: #8881; overflow-x: auto; padding: .5rem 1rem; }
summary { cursor: pointer; } details { margin: .3rem 0; } details > * { margin-left: 1rem; }
b { display: inline-block; min-width: 4.5rem; } h2 { margin-top: 2rem; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } a { color: #8bf; } }
"""


@router.get("/api/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Every path with what it takes and answers, from the same description as /api/openapi.json."""
    page = "".join(_page(request.app.openapi()))
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(page, headers=headers)


def _page(found: Mapping[str, Any]) -> Iterator[str]:
    schemas = found["components"]["schemas"]
    yield "<!doctype html><html lang=en><meta charset=utf-8><title>relay: REST API</title>"
    yield "<meta name=viewport content='width=device-width'>"
    yield f"<style>{_STYLE}</style><h1>REST API</h1>"
    yield "<p>Show a key in <code>Authorization</code>, "
    yield "or as the user name of HTTP Basic without a password. "
    yield "For programs: <a href='openapi.json'>openapi.json</a>.</p>"
    tag = None
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            title = (operation.get("tags") or ["more"])[0]
            if title != tag:
                tag = title
                yield f"<h2>{escape(title)}</h2>"
            yield from _operation(path, method, operation, schemas)
    yield "</html>"


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]
) -> Iterator[str]:
    yield f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code></summary>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    listed = [one for one in operation.get("parameters", ()) if one["in"] == "query"]
    if listed:
        named = ", ".join(f"<code>{escape(one['name'])}</code>" for one in listed)
        yield f"<p>Query: {named}</p>"
    if body := operation.get("requestBody"):
        yield "<p>Body:</p>" + _shown(body, schemas)
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            yield f"<p>{escape(status)}:</p>" + (_shown(response, schemas) if "content" in response else "")
        else:
            yield f"<p>{escape(status)}: {escape(response['description'])}</p>"
    yield "</details>"


def _shown(holder: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    schema = holder["content"].get("application/json", {}).get("schema", {})
    return f"<pre>{escape(json.dumps(_example(schema, schemas, 0), indent=2, ensure_ascii=False))}</pre>"


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    """The shape of a value, with the type where the value would stand."""
    if depth > 8:
        return "…"
    if "$ref" in schema:
        return _example(schemas.get(schema["$ref"].removeprefix(_REFERENCE), {}), schemas, depth + 1)
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return _example(option, schemas, depth + 1)
    if "properties" in schema:
        return {name: _example(part, schemas, depth + 1) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), schemas, depth + 1)]
    return " | ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type", "any")
