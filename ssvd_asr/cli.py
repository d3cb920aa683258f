"""The command `ssvd`, which imports each subcommand when it is called.

COMMANDS is the only place where this package names the packages above it. It names them as strings, so that
`ssvd --help` imports neither torch nor ESPnet. Each target takes the arguments after its own name and returns
the exit status: 0 done, 1 refused with a reason, 2 wrong usage or an extra that is not installed. An error of
the operating system, such as a full disk, is a refusal too.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ssvd_asr.console import (
    READER_GONE,
    drop,
    flush_output,
    open_closed_streams,
    readers_gone,
    use_any_characters,
)
from ssvd_asr.errors import SsvdError
from ssvd_asr.extras import extra_of, how_to_add, require
from ssvd_asr.version import __version__


class Command(NamedTuple):
    """A subcommand: its target, "module:function", its summary in one line, and the extra it needs.

    A name of two words is an action of the first one's command that needs a package above that command's.
    """

    target: str
    summary: str
    extra: str | None = None  # None: the bare install has all of it


COMMANDS: dict[str, Command] = {
    "train": Command(
        "training.train_command:main", "train a domain's adapter from audio and transcripts", "train"
    ),
    "evaluate": Command(
        "training.evaluate_command:main", "word error rate of a base or adapter on a manifest"
    ),
    "transcribe": Command("server.transcribe_command:main", "transcribe audio files in a domain"),
    "serve": Command(
        "server.serve_command:main", "serve every domain from one base model over HTTP", "serve"
    ),
    "keys": Command("server.keys_command:main", "who may call the server, and which domains are private"),
    "ui": Command("ui.ui_command:main", "open the demo page for a running server", "ui"),
    "adapters": Command("adapters_store.commands:main", "list, publish, roll back and remove adapters"),
    "adapters blend": Command(
        "training.blend_command:main", "one adapter of several, each times a weight given or fitted"
    ),
    "adapters compare": Command(
        "training.compare_command:main", "how near two domains are, by their numbers and on data"
    ),
    "adapters describe": Command(
        "training.describe_command:main", "tell what voices a domain or the base is for, for domain=auto"
    ),
    "bench": Command(
        "training.bench.command:main", "compare methods of adaptation on owsm-nano's domains", "benchmark"
    ),
    "base": Command("ssvd_asr.base_command:main", "tell what a base is, and what adapting it takes"),
    "factorize": Command("ssvd_asr.base.factorize_command:main", "compute and cache a base model's factors"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    open_closed_streams()
    use_any_characters()
    prog = " ".join(["ssvd", *arguments[:1]])
    try:
        try:
            return _run(arguments)
        finally:
            flush_output()
    except BrokenPipeError:
        if not readers_gone():
            raise  # a pipe of the command's own
        return READER_GONE
    except OSError as error:
        drop(sys.stdout)
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130  # as a shell reports SIGINT


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["help"] and arguments[1:]:  # `ssvd help train` is `ssvd train --help`
        arguments = [arguments[1], "--help"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"ssvd {__version__}")
        return 0
    name, *rest = arguments
    if rest and f"{name} {rest[0]}" in COMMANDS:
        name, rest = f"{name} {rest[0]}", rest[1:]
    if name not in COMMANDS:
        print(_unknown(name), file=sys.stderr)
        return 2
    command = COMMANDS[name]
    try:
        if command.extra is not None:
            require(command.extra)
        return resolve(command.target)(rest)
    except ModuleNotFoundError as error:
        extra = extra_of(error)
        if extra is None:
            raise
        print(f"ssvd {name} needs {how_to_add(extra)}", file=sys.stderr)
        return 2
    except SsvdError as error:
        print(f"ssvd {name}: {error}", file=sys.stderr)
        return 1


def usage() -> str:
    """Return the text of `ssvd --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ssvd COMMAND [ARGUMENTS]",
            "",
            "One frozen OWSM, many domains: SSVD adapters for speech recognition, trained and served.",
            "",
            *lines,
            "",
            "`ssvd COMMAND --help` tells the arguments of a command, `ssvd --version` the version.",
        ]
    )


def resolve(target: str) -> Callable[[list[str]], int]:
    """Import "module:function" and return the function."""
    module, function = target.split(":")
    found: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    return found


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "see `ssvd --help`"
    return f"ssvd: no command {name!r}; {hint}"


if __name__ == "__main__":
    sys.exit(main())
