"""Every route answers as its OpenAPI document says, whatever schemathesis makes of that document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from adapters_store.store import AdapterStore
from server.app import create_app
from server.engine.start import engine_over
from server.settings import ServerSettings
from tests.server.fakes import FakeRecogniser, write_adapter
from tests.server.keys.making import bearer, make_key
from tests.server.live import listening

SEED = 20
EXAMPLES = 25  # of a route, beside those at the bounds of its fields
FIELDS = "multipart/form-data"
# A schema cannot say which fields of a form go together, so what agrees with it may be refused. A form has
# texts only, so what does not agree may be taken: a number in place of a list is a list of one text.
UNSAID = [positive_data_acceptance, negative_data_rejection]


def schema_of(document: dict[str, Any]) -> Any:
    """The document, and how schemathesis makes requests of it: the same each time."""
    loaded = schemathesis.openapi.from_dict(document, config=SchemathesisConfig(seed=SEED))
    loaded.config.generation.update(max_examples=EXAMPLES, database="none", deterministic=True)
    return loaded


class Asked(NamedTuple):
    """A running server's address, and the headers of an admin."""

    url: str
    headers: dict[str, str]


DOCUMENT = create_app(ServerSettings(ui=False)).openapi()
schema = schema_of(DOCUMENT)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """A running server whose recogniser says what it was asked for, with the packaged clips of a domain."""
    folder = tmp_path_factory.mktemp("schema")
    store = AdapterStore(folder / "store")
    store.publish("child", write_adapter(folder / "child", 1))
    keys = folder / "keys.json"
    settings = ServerSettings(store=store.root, ui=False, preload=False, keys=keys)
    headers = bearer(make_key(keys, "ops", scope="admin"))
    recogniser = FakeRecogniser()
    recogniser.translates = True
    with listening(create_app(settings, engine_over(recogniser, settings, store))) as url:
        yield Asked(url, headers)


def test_a_running_server_tells_this_document(server: Asked) -> None:
    assert httpx.get(f"{server.url}/openapi.json").json() == DOCUMENT


@schema.parametrize()
def test_every_answer_is_as_documented(case: Any, server: Asked, clip: bytes) -> None:
    if case.media_type == FIELDS and isinstance(case.body, dict) and "file" in case.body:
        case.body["file"] = clip  # else nothing but the decoder of audio is reached
    response = case.call(base_url=server.url, headers=server.headers)
    check_error(response)
    case.validate_response(response, excluded_checks=UNSAID if case.media_type == FIELDS else [])


def check_error(response: Response) -> None:
    """Every refusal has OpenAI's shape, whatever the document says of it."""
    if response.status_code >= 400:
        body = response.json()
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}


def test_the_document_refers_to_nothing_that_it_does_not_have() -> None:
    """The form referred to a definition beside itself, where no reader of the document looks for it."""
    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(DOCUMENT))) <= known


def test_every_route_documents_its_errors_in_openais_shape() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            errors = {status: each for status, each in operation["responses"].items() if status >= "400"}
            assert errors, f"{method} {path}"
            for status, each in errors.items():
                (content,) = each["content"].items()
                told = ("application/json", {"schema": {"$ref": "#/components/schemas/ErrorReply"}})
                assert content == told, f"{method} {path} {status}"
