"""Actions of `ssvd adapters --server`: as actions.py, but through a server. No model is loaded."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from adapters_store.actions import pinned, write_new
from adapters_store.names import Reference, parse_name, parse_reference
from adapters_store.reports import Report, describe_alias
from ssvd_asr.errors import SsvdError, StoreError

TIMEOUT_S = 60.0  # for an answer; a publish has longer, because the server checks the file meanwhile
PUBLISH_TIMEOUT_S = 900.0


class Server:
    """A server's API."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            self._client = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S)
        except (httpx.InvalidURL, ValueError) as error:
            raise StoreError(f"--server {url}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request and return the answer. Raises StoreError if there is none, or a refusal."""
        try:
            answer = self._client.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise StoreError(f"{self.url} does not answer: {error or type(error).__name__}") from error
        if answer.is_success:
            return answer
        raise SsvdError(f"{self.url}: {_reason(answer)}")

    def report(self, method: str, path: str, **options: Any) -> Report:
        """Return the answer's JSON. Raises as `ask` does."""
        answer = self.ask(method, path, **options)
        try:
            found = answer.json()
        except ValueError as error:
            raise StoreError(f"{self.url}{path} answers with no JSON: is it an ssvd server?") from error
        if not isinstance(found, dict):
            raise StoreError(f"{self.url}{path} answers with no object: is it an ssvd server?")
        return found


Action = Callable[[Server, argparse.Namespace], Report]


def list_all(server: Server, _: argparse.Namespace) -> Report:
    """Describe every domain."""
    found = server.report("GET", "/v1/domains", params={"describe": "true"})
    domains = [each["description"] for each in found["data"]]
    return {"store": server.url, "domains": domains, "aliases": found["aliases"]}


def show(server: Server, arguments: argparse.Namespace) -> Report:
    """Describe a domain, or one version."""
    wanted = parse_reference(arguments.domain)
    report = server.report("GET", _domain(wanted.name))
    if wanted.pinned:
        report["versions"] = [server.report("GET", _version(_meant(server, wanted, report)))]
    return report


def publish(server: Server, arguments: argparse.Namespace) -> Report:
    """Send an adapter file, which the server checks and adds."""
    said = {"as": arguments.own_name, "over": arguments.over, "activate": str(arguments.activate).lower()}
    try:
        with arguments.file.open("rb") as file:
            return server.report(
                "POST",
                f"{_domain(parse_name(arguments.name))}/versions",
                files={"file": (arguments.file.name, file)},
                data={name: value for name, value in said.items() if value is not None},
                timeout=PUBLISH_TIMEOUT_S,
            )
    except OSError as error:
        raise StoreError(f"{arguments.file} cannot be read: {error.strerror}") from error


def rollback(server: Server, arguments: argparse.Namespace) -> Report:
    """Make the version active that was so before."""
    return server.report("POST", f"{_domain(parse_name(arguments.name))}/rollback")


def activate(server: Server, arguments: argparse.Namespace) -> Report:
    """Make a version active."""
    wanted = pinned(arguments.version)
    return server.report("POST", f"{_domain(wanted.name)}/activate", json={"version": _number(wanted)})


def remove(server: Server, arguments: argparse.Namespace) -> Report:
    """Remove one version, or all but the active, the pinned and the aliased ones."""
    wanted = parse_reference(arguments.domain)
    path = _version(wanted) if wanted.pinned else f"{_domain(wanted.name)}/versions"
    return server.report("DELETE", path, params={"force": "true"} if arguments.force else {})


def alias(server: Server, arguments: argparse.Namespace) -> Report:
    """Let a name stand for a domain or a version, or no longer."""
    path = f"/v1/domain-aliases/{quote(arguments.alias, safe='')}"
    if arguments.stands_for is None:
        server.ask("DELETE", path)
        return describe_alias(arguments.alias, None)
    return server.report("PUT", path, json={"stands_for": arguments.stands_for})


def pin(server: Server, arguments: argparse.Namespace) -> Report:
    """Keep a version from being removed, or let it be removed again."""
    path = f"{_version(pinned(arguments.version))}/pin"
    return server.report("PUT" if arguments.pinned else "DELETE", path)


def download(server: Server, arguments: argparse.Namespace) -> Report:
    """Fetch a version's file and check its digest."""
    wanted = parse_reference(arguments.domain)
    domain = server.report("GET", _domain(wanted.name))
    wanted = _meant(server, wanted, domain)
    if not wanted.pinned:
        wanted = Reference(wanted.name, version=domain["active"])
    report = server.report("GET", _version(wanted))
    data = server.ask("GET", f"{_version(wanted)}/file").content
    found = hashlib.sha256(data).hexdigest()
    if found != report["sha256"]:
        raise StoreError(f"{wanted.text} came damaged: sha256 {found}, not {report['sha256']}")
    return report | {"file": str(write_new(arguments.out, report["name"], report["version"], data))}


def diff(server: Server, arguments: argparse.Namespace) -> Report:
    """Compare the metadata of two versions."""
    path = f"{_domain(parse_name(arguments.name))}/diff"
    return server.report("GET", path, params={"from": arguments.one, "to": arguments.other})


def _meant(server: Server, wanted: Reference, domain: Report) -> Reference:
    """Return a reference without an alias. `domain`: the server's answer for the name of `wanted`."""
    if wanted.name == domain["name"]:
        return wanted
    if wanted.pinned:
        return replace(wanted, name=domain["name"])
    return parse_reference(server.report("GET", "/v1/domains")["aliases"][wanted.name])


def _domain(name: str) -> str:
    return f"/v1/domains/{quote(name, safe='')}"


def _version(wanted: Reference) -> str:
    return f"{_domain(wanted.name)}/versions/{_number(wanted)}"


def _number(wanted: Reference) -> int | str:
    return wanted.version if wanted.version is not None else f"sha256:{wanted.digest_start}"


def _reason(answer: httpx.Response) -> str:
    """Return why a request was refused, from OpenAI's error shape where it has that."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
