"""`ssvd keys`: who may call the server, and which domains are private.

A running server sees each change with its next request.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from adapters_store.audit import AuditLog, local_user
from adapters_store.names import check_spelling
from adapters_store.store import AdapterStore
from server.configuration.lists import listed
from server.keys.book import (
    ALL,
    SCOPES,
    Key,
    KeyBook,
    KeysError,
    check_key_name,
    digest_of,
    new_secret,
    parse_expiry,
)
from server.keys.file import KEYS_VARIABLE, KeyFile
from server.settings import load_settings
from ssvd_asr.errors import SsvdError
from ssvd_asr.parser import CommandParser

Report = tuple[dict[str, Any], str]  # for --json, and as text
Action = Callable[[KeyFile, argparse.Namespace], Report]


def main(argv: list[str]) -> int:
    """Run the command; return 0. Raises SsvdError where it is refused."""
    arguments = _parser().parse_args(argv)
    run: Action = arguments.run
    report, text = run(KeyFile(load_settings().keys), arguments)
    print(json.dumps(report) if arguments.json else text)
    return 0


def _add(file: KeyFile, arguments: argparse.Namespace) -> Report:
    domains = _domains(arguments.domains)
    if arguments.scope == "admin" and domains:
        raise KeysError("an admin's key may use every domain: leave --domains out")
    secret = new_secret()
    key = Key(
        name=check_key_name(arguments.name),
        sha256=digest_of(secret),
        scope=arguments.scope,
        domains=domains,
        audio_s_per_hour=_count("--audio-s-per-hour", arguments.audio_s_per_hour),
        concurrent=_count("--concurrent", arguments.concurrent),
        expires=_expiry(arguments.expires),
        added=datetime.now(UTC),
    )
    book = _change(file, lambda book: book.with_key(key), "key.add", key)
    for domain in sorted(set(key.domains) - {ALL} - set(book.private)):
        _note(f"domain {domain} is not private, so every caller may use it: `ssvd keys private {domain}`")
    return _handed_out(key, secret)


def _rotate(file: KeyFile, arguments: argparse.Namespace) -> Report:
    secret = new_secret()

    def rotated(key: Key) -> Key:
        return key.model_copy(update={"sha256": digest_of(secret), "added": datetime.now(UTC)})

    before = file.read().get(arguments.name)
    key = rotated(before)
    _change(file, lambda book: book.replaced(rotated(book.get(before.name))), "key.rotate", key)
    return _handed_out(key, secret)


def _revoke(file: KeyFile, arguments: argparse.Namespace) -> Report:
    key = file.read().get(arguments.name)
    _change(file, lambda book: book.without_key(book.get(key.name).name), "key.revoke", key)
    return {"revoked": key.name}, f"{key.name} is revoked: requests with this key are refused from now on"


def _list(file: KeyFile, _: argparse.Namespace) -> Report:
    book = file.read()
    report = {
        "file": str(file.path),
        "private": list(book.private),
        "keys": [_told(key) for key in book.keys],
    }
    lines = [_line(key) for key in book.keys] or [f"no keys in {file.path}"]
    return report, "\n".join([*lines, f"private domains: {', '.join(book.private) or 'none'}"])


def _show(file: KeyFile, arguments: argparse.Namespace) -> Report:
    told = _told(file.read().get(arguments.name))
    width = max(map(len, told))
    return told, "\n".join(f"{name:<{width}}  {_value(value)}" for name, value in told.items())


def _private(file: KeyFile, arguments: argparse.Namespace) -> Report:
    names = tuple(map(check_spelling, arguments.domains))
    return _set_private(file, "domain.private", names, lambda book: {*book.private, *names})


def _public(file: KeyFile, arguments: argparse.Namespace) -> Report:
    names = tuple(map(check_spelling, arguments.domains))
    if unknown := set(names) - set(file.read().private):
        raise KeysError(f"domain {min(unknown)} is not private")
    return _set_private(file, "domain.public", names, lambda book: {*book.private} - {*names})


def _set_private(
    file: KeyFile, what: str, names: tuple[str, ...], change: Callable[[KeyBook], set[str]]
) -> Report:
    book = file.change(
        lambda book: book.with_private(change(book)), AuditLog(), local_user(), what, domains=" ".join(names)
    )
    if what == "domain.private":
        _note_unknown(names)
    if not book.keys:
        _note("there are no keys: unless SSVD_AUTH=off, a server asks for one from now on (`ssvd keys add`)")
    return {"private": list(book.private)}, f"private domains: {', '.join(book.private) or 'none'}"


def _note_unknown(names: tuple[str, ...]) -> None:
    """Say which of these are no domains: a wrong name, or an alias, leaves a domain open to everybody."""
    settings = load_settings()
    try:
        store = AdapterStore(settings.store, elsewhere=settings.elsewhere)
        unknown = [name for name in names if not store.has(name)]
    except (SsvdError, ModuleNotFoundError) as error:
        _note(f"whether there are such domains is not known: {error}")
        return
    for name in unknown:
        _note(f"store {store.where} has no domain {name} yet: check the name; an alias hides no domain")


def _change(file: KeyFile, change: Callable[[KeyBook], KeyBook], what: str, key: Key) -> KeyBook:
    """Change the keys. The audit log gets the key's name and the first digits of its hash."""
    return file.change(change, AuditLog(), local_user(), what, key=key.name, sha256_start=key.audit_name)


def _handed_out(key: Key, secret: str) -> Report:
    """Return a new key, which is shown this once."""
    _note(f"key {key.name}: keep it now, it is stored as a hash and not shown again")
    return {"key": secret, **_told(key)}, secret


def _told(key: Key) -> dict[str, Any]:
    """Return what is known of a key, without its hash."""
    told = key.model_dump(mode="json", exclude={"sha256"})
    return {**told, "sha256_start": key.audit_name, "expired": key.expired(datetime.now(UTC))}


def _line(key: Key) -> str:
    limits = [
        f"domains {','.join(key.domains)}" if key.domains else "",
        f"{key.audio_s_per_hour} s of audio an hour" if key.audio_s_per_hour else "",
        f"{key.concurrent} at the same time" if key.concurrent else "",
        f"until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else "",
        "EXPIRED" if key.expired(datetime.now(UTC)) else "",
    ]
    return f"{key.name}: {'; '.join([key.scope, *filter(None, limits)])}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)


def _note(text: str) -> None:
    print(f"ssvd keys: {text}", file=sys.stderr)


def _domains(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(listed(text)))
    return names if names == (ALL,) else tuple(map(check_spelling, names))


def _expiry(text: str | None) -> datetime | None:
    """Return when a new key is over. Raises KeysError for a time that is past."""
    if text is None:
        return None
    over = parse_expiry(text)
    if over <= datetime.now(UTC):
        raise KeysError(f"--expires {text} is past: nobody could use the key")
    return over


def _count(option: str, count: int | None) -> int | None:
    """Return a limit. Raises KeysError for one below 1."""
    if count is not None and count < 1:
        raise KeysError(f"{option} {count}: at least 1; leave it out for no limit")
    return count


def _parser() -> argparse.ArgumentParser:
    common = CommandParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser = CommandParser(
        prog="ssvd keys",
        description=__doc__,
        epilog=f"The file of keys is {KEYS_VARIABLE}, or the user's own.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def action(run: Action, summary: str, *arguments: str) -> argparse.ArgumentParser:
        added = actions.add_parser(
            run.__name__.removeprefix("_"), parents=[common], help=summary, description=summary
        )
        added.set_defaults(run=run)
        for each in arguments:
            added.add_argument(each, help="of the key")
        return added

    add = action(_add, "make a key, and print it once", "name")
    add.add_argument("--scope", choices=SCOPES, default=SCOPES[0], help="default %(default)s")
    add.add_argument(
        "--domains", default="", metavar="NAMES",
        help="private domains that it may use, with commas between them, or '*' for all; default none",
    )  # fmt: skip
    add.add_argument("--audio-s-per-hour", type=int, metavar="N", help="seconds; default no limit")
    add.add_argument(
        "--concurrent", type=int, metavar="N", help="requests at the same time; default no limit"
    )
    add.add_argument("--expires", metavar="DATE", help="as 2027-01-31; default never")
    action(_list, "every key, and the private domains")
    action(_show, "what is known of a key", "name")
    action(_revoke, "refuse a key from now on", "name")
    action(_rotate, "give a key's holder a new one; the old one is refused from now on", "name")
    for run, summary in (
        (_private, "hide domains from all keys that do not name them"),
        (_public, "show them to all"),
    ):
        action(run, summary).add_argument("domains", nargs="+", metavar="DOMAIN")
    return parser
