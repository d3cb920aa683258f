"""Routes that show and change domains: their versions, which of them is active, pins and aliases."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from adapters_store.audit import Actor
from adapters_store.intent import check_active_is_meant, field
from adapters_store.names import parse_name, parse_reference
from adapters_store.reports import (
    Report,
    describe_alias,
    describe_difference,
    describe_history,
    describe_pin,
    describe_removal,
    describe_stored,
    describe_version,
)
from adapters_store.store import AdapterStore
from adapters_store.versions import Version
from server.api.callers import actor_of, check_origin
from server.api.documented import KEY, Responses, refusals
from server.api.gate import caller_of
from server.api.multipart import bad_field, read_form
from server.api.parameters import STRICT
from server.domains import hiding
from server.errors import ApiError
from server.publishing import Intent
from server.publishing import publish as publish_file
from server.state import ServerState, state_of
from ssvd_asr.errors import AdapterError, UnknownDomainError, WrongBaseError, WrongBasisError

router = APIRouter(dependencies=[KEY, *STRICT])
changes = APIRouter(dependencies=[KEY, *STRICT, Depends(check_origin)])

FIELDS = ("as", "over", "activate")
# For the OpenAPI document; adapters_store/names.py refuses what does not fit.
NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
REFERENCE = r"^[a-z0-9][a-z0-9._-]{0,63}(@[1-9][0-9]{0,8})?$"
OF_CHANGES = refusals(400, 403, 404, 409, 500, 507)
OF_PUBLISHING = refusals(400, 403, 404, 409, 413, 415, 422, 500, 504, 507)
FILE: Responses = {
    200: {
        "description": "The file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "The client has it, by its ETag."},
}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_CODES = ((WrongBaseError, "wrong_base"), (WrongBasisError, "wrong_basis"))
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "The adapter file."},
                        "as": {"type": "string", "description": "The name, if it was trained as another."},
                        "over": {"type": "string", "description": "The name, if it is built in."},
                        "activate": {"type": "boolean", "default": True},
                    },
                }
            }
        },
    }
}


class Activation(BaseModel):
    """Body of a request that makes a version active."""

    model_config = ConfigDict(extra="forbid")

    version: StrictInt | StrictStr  # 3, or "sha256:..."


class Alias(BaseModel):
    """Body of a request that sets an alias."""

    model_config = ConfigDict(extra="forbid")

    stands_for: StrictStr = Field(json_schema_extra={"pattern": REFERENCE})  # "child" or "child@3"


@router.get("/v1/domains/{name}", responses=refusals(400, 404, 500))
def domain(name: str, request: Request) -> Report:
    """Return a domain with its versions, pins and history."""
    found = _store(request).get(_visible(request, name).name)
    return describe_history(found, found.versions)


@router.get("/v1/domains/{name}/diff", responses=refusals(400, 404, 500))
def diff(
    name: str, request: Request, one: str = Query(alias="from"), other: str = Query(alias="to")
) -> Report:
    """Return where the metadata of two versions differ."""
    return describe_difference(_version(request, name, one), _version(request, name, other))


@router.get("/v1/domains/{name}/versions/{version}", responses=refusals(400, 404, 500))
def version(name: str, version: str, request: Request) -> Report:
    """Return one version with the metadata of its file."""
    return describe_stored(_store(request), _version(request, name, version))


@router.get(
    "/v1/domains/{name}/versions/{version}/file",
    response_class=Response,
    responses=refusals(400, 403, 404, 500) | FILE,
)
def file(name: str, version: str, request: Request) -> Response:
    """Return a version's file, whose digest is checked first. Its ETag is the digest."""
    found = _version(request, name, version)
    headers = {
        "ETag": f'"{found.sha256}"',
        "Content-Disposition": f'attachment; filename="{found.name}-{found.version}.safetensors"',
    }
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {headers["ETag"], "*"}:
        return Response(status_code=304, headers=headers)
    return Response(found.read_bytes(), media_type="application/octet-stream", headers=headers)


@changes.post("/v1/domains/{name}/versions", status_code=201, openapi_extra=_FORM, responses=OF_PUBLISHING)
async def publish(name: str, request: Request, response: Response) -> Report:
    """Check an adapter file on the base that serves, and add it as a version of a domain."""
    state, by = state_of(request), actor_of(request)
    form = await read_form(request, max_files=1, max_fields=len(FIELDS), max_field_bytes=1024)
    try:
        upload, intent = _read(form)
        async with state.publishing:  # each holds a file in memory while it is checked
            published = await run_in_threadpool(_publish, state, name, upload, intent, by)
    finally:
        await form.close()
    response.headers["Location"] = f"/v1/domains/{published['name']}/versions/{published['version']}"
    return published


@changes.post("/v1/domains/{name}/activate", responses=OF_CHANGES)
def activate(name: str, wanted: Activation, request: Request) -> Report:
    """Make a version active."""
    store = _store(request)
    number = _version(request, name, str(wanted.version)).version
    return describe_version(store.activate(name, number, by=actor_of(request)), active=True)


@changes.post("/v1/domains/{name}/rollback", responses=OF_CHANGES)
def rollback(name: str, request: Request) -> Report:
    """Make the version active that was so before."""
    return describe_version(_store(request).rollback(name, by=actor_of(request)), active=True)


@changes.delete("/v1/domains/{name}/versions", responses=OF_CHANGES)
def remove_others(name: str, request: Request) -> Report:
    """Remove all versions but the active and the pinned ones."""
    store = _store(request)
    return describe_removal(store, parse_name(name), store.remove(name, by=actor_of(request)))


@changes.delete("/v1/domains/{name}/versions/{version}", responses=OF_CHANGES)
def remove(name: str, version: str, request: Request, force: bool = False) -> Report:
    """Remove a version; the active one with `force=true` only."""
    store = _store(request)
    number = _version(request, name, version).version
    check_active_is_meant(store, name, number, force=force, say=field)
    removed = store.remove(name, number, by=actor_of(request), keep_active=not force)
    return describe_removal(store, name, removed)


@changes.put("/v1/domains/{name}/versions/{version}/pin", responses=OF_CHANGES)
def pin(name: str, version: str, request: Request) -> Report:
    """Keep a version from being removed."""
    return _pinned(name, version, request, pinned=True)


@changes.delete("/v1/domains/{name}/versions/{version}/pin", responses=OF_CHANGES)
def unpin(name: str, version: str, request: Request) -> Report:
    """Let a version be removed again."""
    return _pinned(name, version, request, pinned=False)


@changes.put("/v1/domain-aliases/{alias}", responses=OF_CHANGES)
def set_alias(
    alias: Annotated[str, Path(json_schema_extra={"pattern": NAME})], wanted: Alias, request: Request
) -> Report:
    """Let a name stand for a domain, or for one version of it."""
    _store(request).set_alias(alias, wanted.stands_for, by=actor_of(request))
    return describe_alias(alias, parse_reference(wanted.stands_for).text)


@changes.delete("/v1/domain-aliases/{alias}", responses=OF_CHANGES)
def remove_alias(alias: str, request: Request) -> Report:
    """Remove an alias."""
    _store(request).remove_alias(alias, by=actor_of(request))
    return describe_alias(alias, None)


def _publish(state: ServerState, name: str, upload: UploadFile, intent: Intent, by: Actor) -> Report:
    try:
        version = publish_file(state.engine, name, upload.file, intent, say=field, by=by)
    except AdapterError as error:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), "invalid_adapter")
        raise ApiError(422, str(error), code=code, param="file") from error
    return describe_stored(state.store, version)


def _read(form: FormData) -> tuple[UploadFile, Intent]:
    """Return the file and the other fields. Raises ApiError 400 for a missing, repeated or unknown one."""
    upload: UploadFile | None = None
    said: dict[str, str] = {}
    for name, value in form.multi_items():
        if name == "file" and isinstance(value, UploadFile):
            upload = value
        elif name not in FIELDS or isinstance(value, UploadFile):
            raise bad_field(name, f"is not a field of this request; there are file, {', '.join(FIELDS)}")
        elif name in said:
            raise bad_field(name, "is given twice")
        elif value:
            said[name] = value
    if upload is None:
        raise bad_field("file", "is missing")
    activate = _TRUTH.get(said.get("activate", "true").lower())
    if activate is None:
        raise bad_field("activate", f"is {said['activate']!r}: use true or false")
    return upload, Intent(said.get("as"), said.get("over"), activate)


def _pinned(name: str, version: str, request: Request, *, pinned: bool) -> Report:
    store = _store(request)
    number = _version(request, name, version).version
    return describe_pin(store.pin(name, number, pinned=pinned, by=actor_of(request)), pinned=pinned)


def _store(request: Request) -> AdapterStore:
    return state_of(request).store


def _visible(request: Request, reference: str) -> Version:
    """Return what exists for the caller. Raises UnknownDomainError."""
    return hiding(_store(request), caller_of(request).hidden)(reference)


def _version(request: Request, name: str, version: str) -> Version:
    """Return a version of a domain by its number or digest. Raises UnknownDomainError, also for an alias."""
    found = _visible(request, f"{name}@{version}")
    if found.name != name:
        raise UnknownDomainError(f"no domain {name!r} in the store: it is an alias, of {found.name!r}")
    return found
