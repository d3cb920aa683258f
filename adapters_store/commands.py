"""`ssvd adapters`: what is in the store, and which version of a domain answers for its name."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_store.intent import check_active_is_meant, check_not_over_builtin, check_own_name
from adapters_store.names import Reference, check_name, parse_reference
from adapters_store.reports import describe_domain, describe_version, domain_table, version_table
from adapters_store.store import STORE_VARIABLE, AdapterStore
from ssvd_asr.errors import AdapterError, SsvdError, StoreError, UnknownDomainError
from ssvd_asr.parser import CommandParser

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel

ELSEWHERE = "Actions with a help of their own: blend, compare and describe, as `ssvd adapters blend --help`."
ORIGIN_FILE = "merged-from.json"  # beside a merged checkpoint: digests of what it is made of

Report = tuple[dict[str, Any], str]  # for --json, and as text
Action = Callable[[AdapterStore, argparse.Namespace], Report]


def main(argv: list[str]) -> int:
    """Run the command; return 0, or 1 with the reason on standard error."""
    arguments = _parser().parse_args(argv)
    run: Action = arguments.run
    try:
        report, text = run(AdapterStore(arguments.store), arguments)
    except SsvdError as error:
        print(f"ssvd adapters: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report) if arguments.json else text)
    return 0


def _list(store: AdapterStore, _: argparse.Namespace) -> Report:
    domains = store.list()
    report = {"store": str(store.root), "domains": [describe_domain(domain) for domain in domains]}
    return report, domain_table(domains) if domains else f"no domains in {store.root}"


def _show(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    wanted = parse_reference(arguments.domain)
    domain = store.get(wanted.name)
    shown = (store.resolve(arguments.domain),) if wanted.pinned else domain.versions
    report = describe_domain(domain) | {
        "versions": [describe_version(version, active=version == domain.active) for version in shown],
        "events": [event.model_dump() for event in domain.events],
    }
    return report, version_table(domain, shown)


def _publish(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    # Check the header first: that takes milliseconds, while loading a model takes seconds.
    from ssvd_asr.adapter.read import inspect_adapter

    try:
        metadata = inspect_adapter(arguments.file)
    except AdapterError as error:
        named = str(arguments.file) in str(error)
        raise AdapterError(str(error) if named else f"{arguments.file}: {error}") from error
    check_name(arguments.name)
    check_own_name(metadata, arguments.name, arguments.own_name)
    check_not_over_builtin(store, arguments.name, arguments.over)
    from adapters_store.publish_check import publish_check

    version = store.publish(arguments.name, arguments.file, check=publish_check(_base(arguments)))
    return describe_version(version, active=True), f"published {version.reference} sha256:{version.sha256}"


def _rollback(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    version = store.rollback(arguments.name)
    return describe_version(version, active=True), f"{version.reference} is active again"


def _activate(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    wanted = _pinned(arguments.version)
    version = store.activate(wanted.name, store.resolve(arguments.version).version)
    return describe_version(version, active=True), f"{version.reference} is active"


def _remove(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    wanted = parse_reference(arguments.domain)
    number = store.resolve(arguments.domain).version if wanted.pinned else None
    check_active_is_meant(store, wanted, number, force=arguments.force)
    removed = store.remove(wanted.name, number)
    try:
        active = store.get(wanted.name).active
    except UnknownDomainError:
        active = None
    report = {
        "name": wanted.name,
        "removed": [version.version for version in removed],
        "active": active and active.version,
    }
    answers = f"{wanted.name!r} is unknown now" if active is None else f"{active.reference} answers"
    return report, f"removed {', '.join(version.reference for version in removed)}; {answers}"


def _merge(store: AdapterStore, arguments: argparse.Namespace) -> Report:
    out: Path = arguments.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"--out {out} is there already and not an empty folder")
    file = Path(arguments.adapter)
    source: Path | bytes = file if file.is_file() else store.resolve(arguments.adapter).read_bytes()
    from ssvd_asr.adapter.merge import is_whole, with_weights

    base = _base(arguments)
    if isinstance(source, Path) and is_whole(source):
        merged, sha256 = with_weights(base, source)
        what, origin = "weights", {"adapter_sha256": None, "weights_sha256": sha256}
    else:
        merged, sha256 = _with_adapter(base, source)
        what, origin = "adapter", {"adapter_sha256": sha256, "weights_sha256": None}
    config, checkpoint = merged.export(out)
    report = {
        "config": str(config),
        "checkpoint": str(checkpoint),
        "digest": merged.digest,
        "base": base.name,
        "base_digest": base.digest,
        **origin,
    }
    text = json.dumps(
        {name: report[name] for name in report if name not in ("config", "checkpoint")}, indent=1
    )
    (out / ORIGIN_FILE).write_text(text + "\n", encoding="utf-8")
    return report, f"{checkpoint}: {base.name} with {what} sha256:{sha256}"


def _with_adapter(base: BaseModel, source: Path | bytes) -> tuple[BaseModel, str]:
    from ssvd_asr.adapter.merge import merge_adapter
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.basis.cache import factorize

    load_adapter(source, base)  # refuses a wrong file before factorising, which takes seconds
    factors = factorize(base, progress=False)
    loaded = load_adapter(source, base, factors)
    return merge_adapter(base, loaded, factors), loaded.sha256


def _base(arguments: argparse.Namespace) -> BaseModel:
    """Load the base on the CPU in float32, where the canary is strict and the basis is computed."""
    from ssvd_asr.base.load import load_base

    return load_base(
        arguments.base,
        device="cpu",
        dtype="float32",
        config=arguments.config,
        checkpoint=arguments.checkpoint,
    )


def _pinned(text: str) -> Reference:
    wanted = parse_reference(text)
    if not wanted.pinned:
        raise StoreError(f"{text!r} names no version: {text}@NUMBER or {text}@sha256:DIGITS is wanted")
    return wanted


def _parser() -> argparse.ArgumentParser:
    common = CommandParser(add_help=False)
    common.add_argument(
        "--store",
        type=Path,
        help=f"its folder (default: {STORE_VARIABLE}, else the user's data folder)",
    )
    common.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser = CommandParser(prog="ssvd adapters", description=__doc__, epilog=ELSEWHERE)
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def action(run: Action, summary: str) -> argparse.ArgumentParser:
        added = actions.add_parser(
            run.__name__.removeprefix("_"), parents=[common], help=summary, description=summary
        )
        added.set_defaults(run=run)
        return added

    action(_list, "every domain and its active version")
    show = action(_show, "a domain's versions and history, or one version")
    show.add_argument("domain", help="name, name@version or name@sha256:...")
    publish = action(_publish, "check an adapter file against its base and make it the active version")
    publish.add_argument("name", help="the domain")
    publish.add_argument("file", type=Path, help="the adapter file")
    publish.add_argument(
        "--as",
        dest="own_name",
        metavar="NAME",
        help="the domain again, if it was trained as another",
    )
    publish.add_argument("--over", metavar="NAME", help="the domain again, if it is built in")
    rollback = action(_rollback, "make the version active that was so before")
    rollback.add_argument("name", help="the domain")
    activate = action(_activate, "make a version active")
    activate.add_argument("version", help="name@version or name@sha256:...")
    merge = action(_merge, "write base and adapter as one ordinary checkpoint of the base's family")
    merge.add_argument(
        "adapter",
        help="an adapter file, a domain of the store, name@version, or weights.safetensors of `ssvd train`",
    )
    merge.add_argument("--out", type=Path, required=True, help="an empty or new folder")
    for needing in (publish, merge):
        needing.add_argument("--base", default="owsm-nano", help="owsm-nano, a hub tag, or a folder")
        needing.add_argument("--config", type=Path, help="the base's config.yaml, with --checkpoint")
        needing.add_argument("--checkpoint", type=Path, help="the base's weights, with --config")
    remove = action(_remove, "remove one version, or all but the active one")
    remove.add_argument("domain", help="name@version, or a name for all its versions but the active one")
    remove.add_argument("--force", action="store_true", help="remove the active version too")
    return parser
