"""What the server can do, as OpenAPI 3.1 writes it. The queries are described from what checks them."""

from http import HTTPStatus
from typing import Any

from bdflow.server.limits import Limits
from bdflow.server.problems import TYPE as PROBLEM
from bdflow.server.queries import TYPES, Restore, Shrink, described
from bdflow.version import __version__

_BODY_STATUSES = {
    400: "The query is wrong; the reason says what",
    408: "The body did not arrive in time",
    413: "The body is larger than the server takes",
    422: "The body is no picture that bdflow reads, is too large, or cannot be made into what was asked for",
    429: "As many pictures wait as may",
    500: "A fault of the server's",
    503: "Its turn did not come in time, or the work took too long, or the server is ending",
}


def description(limits: Limits) -> dict[str, Any]:
    """The whole, of a server of some limits."""
    small = sorted(set(TYPES.values()) - {"image/png"})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bdflow",
            "version": __version__,
            "summary": "Shrinks photographs into small ordinary picture files, and restores them",
            "description": f"A body has at most {limits.max_bytes:,} bytes, and a picture"
            f" {limits.max_pixels:,} pixels. Every refusal is a problem detail (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/shrink": {
                "post": _picture(
                    "shrink",
                    "Shrink a photograph",
                    "A photograph",
                    described(Shrink),
                    small,
                    "The small file",
                )
            },
            "/restore": {
                "post": _picture(
                    "restore",
                    "Restore a photograph",
                    "A small file that bdflow made",
                    described(Restore),
                    sorted(TYPES.values()),
                    "The photograph",
                )
            },
            "/models": {
                "get": _plain("models", "List the models", _json({"$ref": "#/components/schemas/Models"}))
            },
            "/openapi.json": {"get": _plain("openapi", "This description", _json({"type": "object"}))},
            "/healthz": {"get": _plain("healthz", "Whether the server is there", _json(_HEALTH))},
            "/metrics": {
                "get": _plain(
                    "metrics",
                    "Counters, in Prometheus' format",
                    {"text/plain": {"schema": {"type": "string"}}},
                )
            },
        },
        "components": {
            "schemas": {"Problem": _PROBLEM, "Models": _MODELS},
            "responses": {str(status): _refusal(status, says) for status, says in _BODY_STATUSES.items()},
        },
    }


_HEALTH = {
    "type": "object",
    "properties": {"status": {"const": "ok"}, "version": {"type": "string"}},
    "required": ["status", "version"],
}
_PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One line, for people"},
    },
    "required": ["type", "title", "status", "detail"],
}
_MODELS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "scale": {
                "type": ["integer", "null"],
                "description": "How many times smaller each way its PNGs are; null of a network that restores"
                " AVIF, WebP and JPEG files",
            },
            "bytes": {"type": "integer"},
            "weights": {"type": "string", "description": "SHA-256 of its weights"},
        },
        "required": ["name", "scale", "bytes", "weights"],
    },
}
_NOTES = {
    "description": "What reading the body changed, or what was assumed of it",
    "schema": {"type": "string"},
}
_RETRY = {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _plain(name: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}},
    }


def _picture(
    name: str, summary: str, body: str, parameters: list[dict[str, Any]], types: list[str], answer: str
) -> dict[str, Any]:
    """An operation that takes a picture and answers with one."""
    content = {kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in types}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "description": f"{body}: the bytes of its file, whatever the type says",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        "responses": {
            "200": {"description": answer, "content": content, "headers": {"Bdflow-Notes": _NOTES}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _BODY_STATUSES},
        },
    }


def _refusal(status: int, says: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    described = {
        "description": f"{HTTPStatus(status).phrase}. {says}.",
        "content": {PROBLEM: {"schema": schema}},
    }
    return described | ({"headers": {"Retry-After": _RETRY}} if status in (429, 503) else {})
