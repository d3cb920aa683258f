"""`ssvd adapters describe`: write what voices a domain, or the base, is for, as `domain=auto` needs it.

Adapters of `ssvd train` carry such a summary of their training data. This makes one for others and bases.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from adapters_store.places import place_of
from adapters_store.store import STORE_VARIABLE, AdapterStore
from ssvd_asr.adapter.voices import FEWEST_UTTERANCES
from ssvd_asr.errors import DataError, WrongBaseError
from ssvd_asr.manifests.read import check_source
from ssvd_asr.parser import CommandParser
from training.arguments import add_base_arguments


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    check_source(arguments.data)
    store = AdapterStore(arguments.store)
    version = None if arguments.the_base else store.resolve(arguments.domain)
    from ssvd_asr.base.load import load_base

    base = load_base(arguments.base, arguments.device, "float32", arguments.config, arguments.checkpoint)
    if version is not None and version.metadata.base_digest != base.digest:
        made_for = version.metadata.base_name
        raise WrongBaseError(f"{version.reference} was made for base {made_for}, not for {base.name}")
    from training.voices import voice_summary

    summary = voice_summary(base, arguments.data)
    if summary is None:
        raise DataError(f"{arguments.data}: a summary of voices needs {FEWEST_UTTERANCES} utterances")
    path = store.voices.write(base.digest if version is None else version.sha256, summary)
    what = base.name if version is None else version.reference
    report = {"of": what, "utterances": summary.utterances, "file": str(path)}
    print(json.dumps(report) if arguments.json else f"{what}: {summary.utterances} utterances, {path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="ssvd adapters describe", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("domain", nargs="?", help="name, name@version or name@sha256:...")
    which.add_argument("--the-base", action="store_true", help="the base in place of a domain")
    parser.add_argument("--data", type=Path, required=True, help="recordings of its voices, as for training")
    parser.add_argument(
        "--store", type=place_of, help=f"its folder (default: {STORE_VARIABLE}, else the user's)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_base_arguments(parser)
    return parser
