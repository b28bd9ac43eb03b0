"""What OpenAPI cannot see by itself: bodies that routes read on their own, refusals, and the key."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from relay.frames.rest.request import RequestBody
from relay.frames.rest.shapes import Errors

_REFUSALS = {
    400: "The request breaks the contract.",
    401: "No key, or an unknown one.",
    403: "The key may not do this, or not from this address.",
    404: "There is no such object in the account.",
    409: "The directory as it stands does not allow it.",
    413: "The body is too large.",
    414: "The URI is too long.",
    415: "The body is not JSON.",
    422: "The request is understood and cannot be done.",
    429: "Too many requests.",
    503: "Not now; the same request may succeed later.",
}
_DEFINITIONS = "$defs"


def list_refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=`: these statuses beside those that every resource has."""
    every = {400, 401, 403, 429, 503, *statuses}
    return {status: {"model": Errors, "description": _REFUSALS[status]} for status in sorted(every)}


def takes(*models: type[RequestBody], required: bool = True) -> dict[str, Any]:
    """For `openapi_extra=`: the body that the route reads by `read_body` or `json_object`; any of these."""
    options = [_schema(model) for model in models]
    schema = options[0]
    if len(options) > 1:
        definitions = {name: found for one in options for name, found in one.pop(_DEFINITIONS, {}).items()}
        schema = {"anyOf": options, _DEFINITIONS: definitions}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _schema(model: type[RequestBody]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        if name not in required and {"type": "null"} not in field.get("anyOf", ()):
            # As `read` has it: null is as if it were not there.
            schema["properties"][name] = {"anyOf": [field, {"type": "null"}]}
    return schema


def describe_app(app: FastAPI) -> None:
    """Make the application's OpenAPI description a true one."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _true(get_openapi(title=app.title, version=app.version, routes=app.routes))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's own way to do it


def _true(found: dict[str, Any]) -> dict[str, Any]:
    components = found.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for path, operations in found["paths"].items():
        for operation in operations.values():
            # FastAPI promises its own shape wherever there is a parameter; nothing is refused so.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            schemas |= body.get("schema", {}).pop(_DEFINITIONS, {})
            if path.startswith("/api/"):
                operation["security"] = [{"key": []}, {"basic": []}]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "key": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "The key and nothing else.",
        },
        "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
    }
    return found
