"""Routes that list what is served: GET /v1/models, /v1/domains and the domains' sample clips."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from adapters_store.reports import describe_domain
from adapters_store.versions import Domain, Version
from server.api.documented import KEY, audio_file, refusals
from server.api.gate import caller_of
from server.api.naming import model_name, visible_aliases
from server.api.parameters import STRICT
from server.domains import hiding, problem_of
from server.errors import ApiError
from server.keys.caller import Caller
from server.languages import described
from server.samples import MEDIA_TYPES, Sample
from server.state import ServerState, state_of

router = APIRouter(dependencies=[KEY, *STRICT])


@router.get("/v1/models", responses=refusals(400, 500))
def models(request: Request) -> dict[str, Any]:
    """List the base, each domain made for it and the aliases, in OpenAI's shape."""
    return {"object": "list", "data": _models(state_of(request), caller_of(request))}


@router.get("/v1/models/{model:path}", responses=refusals(400, 404, 500))
def model(model: str, request: Request) -> dict[str, Any]:
    """Return one entry of /v1/models."""
    for entry in _models(state_of(request), caller_of(request)):
        if entry["id"] == model:
            return entry
    raise ApiError(404, f"model {model!r} is not served here", code="model_not_found", param="model")


@router.get("/v1/domains", responses=refusals(400, 500))
def domains(request: Request, describe: bool = False) -> dict[str, Any]:
    """List every domain that exists for the caller, as it is now, with aliases and the base that is served.

    The base has its `languages`, the one of requests that name none (`language`), and whether it finds out
    which is spoken. `auto` says that transcriptions take `domain=auto`: servers before it lack the field.
    With `describe` each domain has a description of its versions and of the active one's file.
    """
    state, caller = state_of(request), caller_of(request)
    recogniser = state.engine.recogniser
    return {
        "object": "list",
        "base": {
            "name": recogniser.name,
            "digest": recogniser.digest,
            **described(recogniser, state.settings.language),
        },
        "auto": True,
        "aliases": visible_aliases(recogniser.name, state.store.list_aliases(), caller.hidden),
        "data": [
            _domain(state, each) | ({"description": describe_domain(each)} if describe else {})
            for each in state.store.list()
            if caller.may_use(each.name)
        ],
    }


@router.get("/v1/domains/{name}/samples", responses=refusals(400, 404, 500))
def samples(name: str, request: Request) -> dict[str, Any]:
    """List the sample clips of a domain: id, text and the URL of the audio."""
    return {"object": "list", "data": [_sample(name, each) for each in _samples(request, name)]}


@router.get(
    "/v1/domains/{name}/samples/{sample_id}",
    response_class=FileResponse,
    responses=refusals(400, 404, 500) | audio_file(set(MEDIA_TYPES.values())),
)
def sample_audio(name: str, sample_id: str, request: Request) -> FileResponse:
    """Return one clip's audio file, unchanged."""
    for sample in _samples(request, name):
        if sample.id == sample_id:
            return FileResponse(sample.path, media_type=sample.media_type, filename=sample.path.name)
    raise ApiError(404, f"domain {name!r} has no sample {sample_id!r}", code="sample_not_found")


def _models(state: ServerState, caller: Caller) -> list[dict[str, Any]]:
    base = state.engine.recogniser.name
    shown = (each for each in state.store.list() if caller.may_use(each.name))
    names = [None, *(each.name for each in shown if _problem(state, each.active) is None)]
    aliases = visible_aliases(base, state.settings.aliases, caller.hidden)
    listed = [*(model_name(base, name) for name in names), *aliases]
    return [{"id": each, "object": "model", "created": 0, "owned_by": "ssvd-asr"} for each in listed]


def _domain(state: ServerState, domain: Domain) -> dict[str, Any]:
    active = domain.active
    problem = _problem(state, active)
    training = active.metadata.training if problem is None else {}
    return {
        "object": "domain",
        "name": domain.name,
        "model": model_name(state.engine.recogniser.name, domain.name),
        "active_version": active.version,
        "sha256": active.sha256,
        "builtin": active.builtin,
        "wer_before": training.get("wer_before"),
        "wer_after": training.get("wer_after"),
        "wer_data": _one_of(training.get("evaluated_on"), str),
        "wer_utterances": _one_of(training.get("evaluated_utterances"), int),
        "problem": problem,
    }


def _one_of[T](value: object, kind: type[T]) -> T | None:
    """Return a value of a training summary, which may hold anything, if it is of this kind."""
    return value if isinstance(value, kind) else None


def _problem(state: ServerState, version: Version) -> str | None:
    recogniser = state.engine.recogniser
    return problem_of(version, recogniser.name, recogniser.digest)


def _samples(request: Request, name: str) -> tuple[Sample, ...]:
    state = state_of(request)
    return state.samples.of(hiding(state.store, caller_of(request).hidden)(name).name)


def _sample(name: str, sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "text": sample.text, "url": f"/v1/domains/{name}/samples/{sample.id}"}
