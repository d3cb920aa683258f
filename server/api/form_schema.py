"""The form of a route in the OpenAPI document, field by field as clients send it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.api import chunking
from server.api.chunking import ServerVad
from server.api.form import AudioForm
from server.api.form_reading import LISTS

REFUSED = ("known_speaker_names", "known_speaker_references")  # whatever is in them


def request_schema(kind: type[AudioForm]) -> dict[str, Any]:
    """Return the form's entry for the OpenAPI document. FastAPI cannot derive it from the route."""
    schema = {
        "title": kind.__name__,
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}, **dict(_fields(kind))},
        "required": ["file"],
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _fields(kind: type[AudioForm]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each field by the name that it has in a form. A form has no null and no objects."""
    for name, field in kind.model_json_schema()["properties"].items():
        if name == chunking.FIELD:
            yield name, {"type": "string", "enum": [field["default"]], "description": field["description"]}
            for member, each in ServerVad.model_json_schema()["properties"].items():
                yield f"{name}[{member}]", each
        elif name not in REFUSED:
            (sent, *_) = field.pop("anyOf", [{}])
            yield f"{name}[]" if name in LISTS else name, sent | field
