"""`ssvd adapters`: what is in the store, and which version of a domain answers for its name."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from adapters_store import actions, parcels, tables
from adapters_store.actions import Action
from adapters_store.places import place_of
from adapters_store.reports import Report
from adapters_store.store import STORE_VARIABLE, AdapterStore
from ssvd_asr.errors import SsvdError
from ssvd_asr.parser import CommandParser

ELSEWHERE = "Actions with a help of their own: blend, compare and describe, as `ssvd adapters blend --help`."
KEY_VARIABLE = "SSVD_KEY"


class Told(NamedTuple):
    """An action on a store, its report as text, and the name of the action on a server, if it has one."""

    run: Action
    text: Callable[[Report], str]
    on_server: str | None = None


def main(argv: list[str]) -> int:
    """Run the command; return 0, or 1 with the reason on standard error."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    told: Told = arguments.told
    if arguments.server and (told.on_server is None or arguments.store is not None):
        parser.error("--server is not for this action" if told.on_server is None else "--server or --store")
    try:
        report = _on_server(told, arguments) if arguments.server else _here(told, arguments)
    except SsvdError as error:
        print(f"ssvd adapters: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report) if arguments.json else told.text(report))
    return 0


def _here(told: Told, arguments: argparse.Namespace) -> Report:
    return told.run(AdapterStore(arguments.store), arguments)


def _on_server(told: Told, arguments: argparse.Namespace) -> Report:
    from adapters_store import server_actions

    assert told.on_server is not None
    action: server_actions.Action = getattr(server_actions, told.on_server)
    with server_actions.Server(arguments.server, arguments.key or os.environ.get(KEY_VARIABLE)) as server:
        return action(server, arguments)


def _parser() -> argparse.ArgumentParser:
    common = CommandParser(add_help=False)
    common.add_argument(
        "--store",
        type=place_of,
        help=f"a folder, s3://... or hf://... (default: {STORE_VARIABLE}, else the user's data folder)",
    )
    common.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    common.add_argument("--server", metavar="URL", help="act on a running server in place of a store")
    common.add_argument("--key", help=f"the server's key (default: {KEY_VARIABLE})")
    parser = CommandParser(prog="ssvd adapters", description=__doc__, epilog=ELSEWHERE)
    added = parser.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, told: Told, summary: str) -> argparse.ArgumentParser:
        found = added.add_parser(name, parents=[common], help=summary, description=summary)
        found.set_defaults(told=told)
        return found

    action(
        "list", Told(actions.list_all, tables.store_table, "list_all"), "every domain and its active version"
    )
    show = action(
        "show",
        Told(actions.show, tables.history_table, "show"),
        "a domain's versions and history, or one version",
    )
    show.add_argument("domain", help="name, name@version or name@sha256:...")
    _add_publish(action)
    rollback = action(
        "rollback",
        Told(actions.rollback, tables.rolled_back_text, "rollback"),
        "make the version active that was so before",
    )
    rollback.add_argument("name", help="the domain")
    activate = action(
        "activate", Told(actions.activate, tables.activated_text, "activate"), "make a version active"
    )
    activate.add_argument("version", help="name@version or name@sha256:...")
    remove = action(
        "remove",
        Told(actions.remove, tables.removed_text, "remove"),
        "remove one version, or all but the active, the pinned and the aliased ones",
    )
    remove.add_argument("domain", help="name@version, or a name for all its versions but the active one")
    remove.add_argument("--force", action="store_true", help="remove the active version too")
    _add_names(action)
    _add_files(action)
    return parser


Adder = Callable[[str, Told, str], argparse.ArgumentParser]


def _add_publish(action: Adder) -> None:
    publish = action(
        "publish",
        Told(actions.publish, tables.published_text, "publish"),
        "check an adapter file against its base and make it the active version",
    )
    publish.add_argument("name", help="the domain")
    publish.add_argument("file", type=Path, help="the adapter file")
    publish.add_argument(
        "--as", dest="own_name", metavar="NAME", help="the domain again, if it was trained as another"
    )
    publish.add_argument("--over", metavar="NAME", help="the domain again, if it is built in")
    publish.add_argument(
        "--no-activate",
        dest="activate",
        action="store_false",
        help="add the version; the active one stays active",
    )
    merge = action(
        "merge",
        Told(actions.merge, tables.merged_text),
        "write base and adapter as one ordinary checkpoint of the base's family",
    )
    merge.add_argument(
        "adapter",
        help="an adapter file, a domain of the store, name@version, or weights.safetensors of `ssvd train`",
    )
    merge.add_argument("--out", type=Path, required=True, help="an empty or new folder")
    for needing in (publish, merge):
        _add_base(needing)


def _add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", default="owsm-nano", help="owsm-nano, a hub tag, or a folder")
    parser.add_argument("--config", type=Path, help="the base's config.yaml, with --checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="the base's weights, with --config")


def _add_names(action: Adder) -> None:
    alias = action(
        "alias", Told(actions.alias, tables.alias_text, "alias"), "let a name stand for a domain or a version"
    )
    alias.add_argument("alias", help="the name")
    meant = alias.add_mutually_exclusive_group(required=True)
    meant.add_argument("stands_for", nargs="?", help="name, name@version or name@sha256:...")
    meant.add_argument("--remove", action="store_true", help="remove the alias")
    for name, pinned, summary in (
        ("pin", True, "keep a version from being removed"),
        ("unpin", False, "let a pinned version be removed again"),
    ):
        pin = action(name, Told(actions.pin, tables.pin_text, "pin"), summary)
        pin.add_argument("version", help="name@version or name@sha256:...")
        pin.set_defaults(pinned=pinned)


def _add_files(action: Adder) -> None:
    download = action(
        "download", Told(actions.download, tables.file_text, "download"), "copy a version's file"
    )
    download.add_argument("domain", help="name, name@version or name@sha256:...")
    download.add_argument("--out", type=Path, help="a new file (default: NAME-VERSION.safetensors)")
    diff = action(
        "diff",
        Told(actions.diff, tables.difference_table, "diff"),
        "where the metadata of two versions differ",
    )
    diff.add_argument("name", help="the domain")
    diff.add_argument("one", help="a version's number, or sha256:...")
    diff.add_argument("other", help="another one")
    push = action("push", Told(parcels.push, tables.pushed_text), "write a domain to a repository of the hub")
    push.add_argument("name", help="the domain, or name@version")
    push.add_argument("repository", help="owner/name on the Hugging Face hub; HF_TOKEN has to allow it")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    pull = action(
        "pull", Told(parcels.pull, tables.published_text), "publish the adapter of a repository of the hub"
    )
    pull.add_argument("repository", help="owner/name, or owner/name@revision")
    pull.add_argument("name", help="the domain")
    pull.add_argument("--as", dest="own_name", metavar="NAME", help="see publish")
    pull.add_argument("--over", metavar="NAME", help="see publish")
    pull.set_defaults(activate=True)
    _add_base(pull)
