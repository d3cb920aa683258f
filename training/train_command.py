"""`ssvd train`: train an adapter file from a manifest of a domain's speech."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from adapters_store.intent import check_not_over_builtin
from adapters_store.names import check_name
from adapters_store.places import place_of
from adapters_store.store import AdapterStore
from ssvd_asr.adapter.forms import BUDGET_RULES, DEFAULT_MAP, DIRECTIONS, MAPS
from ssvd_asr.device import DTYPES
from ssvd_asr.errors import SsvdError
from ssvd_asr.manifests.read import check_source
from ssvd_asr.output_paths import check_output_folder
from ssvd_asr.parser import CommandParser
from training.arguments import add_base_arguments, count, gibibytes, min_usable, override, positive, share
from training.loop.interrupt import interrupt_on_signal, stop_on_signal
from training.methods.choices import (
    DEFAULT_OFF_DIAGONALS,
    METHODS,
    check_choices,
    default_rank,
)
from training.methods.scale import SCALES
from training.recipe import NANO, OWSM, WITHOUT_CTC, Recipe
from training.run_settings import SCOPES, SIDES, RunSettings

INTERRUPTED = 130  # exit status, as a shell's after ctrl-c


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit status; 130 if interrupted, to continue with `--resume`.

    Raises KeyboardInterrupt, which `ssvd` ends with the same status, for a signal outside the training loop.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        changes = _recipe_changes(arguments)
    except ValidationError as error:
        parser.error("; ".join(f"{_place(e['loc'])}{e['msg']}" for e in error.errors()))
    settings = _settings(arguments)
    _check_paths(settings)
    with interrupt_on_signal():
        return _train(settings, changes, arguments)


def _train(settings: RunSettings, changes: dict[str, Any], arguments: argparse.Namespace) -> int:
    """Train in the processes asked for, print the result, and return the exit status."""
    from training.loop.processes import launch
    from training.loop.run import Session

    processes = launch(arguments.processes, arguments.device, sharded=arguments.shard)

    def tell(line: str) -> None:
        if processes.first:
            print(line, file=sys.stderr, flush=True)

    settings = replace(settings, progress=processes.first)
    result = Session(settings, changes, tell, processes).run(stop_on_signal)
    processes.close()
    if not processes.first:
        return 0  # the first process reports how the run ended
    if not result["finished"]:
        return INTERRUPTED
    if arguments.json:
        print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="ssvd train",
        description="Train a domain's adapter on a frozen base and measure its word error rate.",
        epilog="Data are JSON manifests (audio, text, start_s, duration_s, speaker, channel, id), CSV or TSV "
        "tables, data sets of Hugging Face, lhotse cut sets or Kaldi data directories: docs/training.md.",
    )
    parser.add_argument("--domain", required=True, help="name of the adapter")
    parser.add_argument("--data", required=True, type=Path, help="training data")
    parser.add_argument("--valid", required=True, type=Path, help="validation data: chooses the best epoch")
    parser.add_argument("--test", type=Path, help="scored before and after (default: the validation data)")
    parser.add_argument("--out", type=Path, help="folder of the run (default: runs/DOMAIN)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--publish", action="store_true", help="publish in the store as a new version")
    parser.add_argument("--over", metavar="DOMAIN", help="the domain again, to publish over a built-in one")
    parser.add_argument("--store", type=place_of, help="the store's folder (default: the user's)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add_base_arguments(parser)
    parser.add_argument("--dtype", choices=DTYPES, default="auto", help="bfloat16: autocast")
    _add_method(parser)
    machine = parser.add_argument_group("processes and memory")
    machine.add_argument(
        "--processes", type=count, default=1, metavar="N",
        help="share each step's batches among N processes, one a GPU (or start them by torchrun)",
    )  # fmt: skip
    machine.add_argument("--shard", action="store_true", help="with --method full: split the weights (FSDP)")
    machine.add_argument(
        "--recompute", action="store_true",
        help="gradient checkpointing: compute layers twice and keep less in memory",
    )  # fmt: skip
    data = parser.add_argument_group("data")
    data.add_argument(
        "--min-usable",
        type=min_usable,
        default=1,
        metavar="N",
        help="stop below: a count, or a share (0.9, 90%%)",
    )
    data.add_argument(
        "--cache-gib", type=gibibytes, default=4.0, help="decoded audio kept in memory (default 4)"
    )
    _add_recipe(parser)
    return parser


def _add_method(parser: argparse.ArgumentParser) -> None:
    """Add the options of method and size; `methods.choices` says which method takes which option."""
    size = parser.add_argument_group("method and size")
    size.add_argument(
        "--method", choices=METHODS, default="ssvd",
        help="ssvd, lora-xs, svft-*: an adapter in the shared basis; lora, dora, vera, pissa (through peft), "
        "full (every weight): merged weights, to compare (default %(default)s)",
    )  # fmt: skip
    either = size.add_mutually_exclusive_group()
    either.add_argument("--p", type=share, help="share of min(m, n) of each layer that turns (default 0.4)")
    either.add_argument("--k", type=count, help="the same number of directions in every layer")
    either.add_argument("--budget", type=count, metavar="N", help="at most N numbers train, by --budget-rule")
    size.add_argument(
        "--budget-rule", choices=BUDGET_RULES, default="energy",
        help="the same for every layer: the share of its energy, or of min(m, n) (default %(default)s)",
    )  # fmt: skip
    size.add_argument("--map", choices=MAPS, default=DEFAULT_MAP, help="rotation (default %(default)s)")
    size.add_argument("--sides", choices=SIDES, default="inner", help="both: rotate the side of U too")
    size.add_argument(
        "--directions", choices=DIRECTIONS, default="head", help="tail: smallest singular values"
    )
    size.add_argument("--no-delta-sigma", action="store_false", dest="delta_sigma", help="rotate only")
    size.add_argument(
        "--override", type=override, action="append", default=[], metavar="PATTERN=K",
        help="k (or p, with a point) of layers whose name ends with PATTERN",
    )  # fmt: skip
    size.add_argument(
        "--off-diagonals", type=count, metavar="D",
        help=f"svft-banded: on each side; top-k, random: as many entries (default {DEFAULT_OFF_DIAGONALS})",
    )  # fmt: skip
    size.add_argument("--scope", choices=SCOPES, default="all", help="layers of one half only")
    size.add_argument(
        "--rank", type=count,
        help=f"lora, dora, pissa (default {default_rank('lora')}), vera ({default_rank('vera')})",
    )  # fmt: skip
    size.add_argument(
        "--alpha",
        type=positive,
        help="lora, dora, pissa: scale alpha / rank (default: the rank; lora, dora on real OWSM twice that)",
    )
    size.add_argument(
        "--no-embedding", action="store_false", dest="embedding",
        help="lora, dora, vera, pissa: without the LoRA on the decoder's token embedding",
    )  # fmt: skip
    size.add_argument(
        "--scale", type=positive, metavar="X",
        help=f"factor on what training changed (default: of {_scales()} the best on the validation data)",
    )  # fmt: skip


def _scales() -> str:
    return ", ".join(f"{scale:g}" for scale in SCALES)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of the recipe, with its defaults for each kind of base."""
    group = parser.add_argument_group("recipe (defaults: real OWSM | owsm-nano | real bases without CTC)")
    for name, field in Recipe.model_fields.items():
        values = [_shown(getattr(recipe, name)) for recipe in (OWSM, NANO, WITHOUT_CTC)]
        default = " | ".join(values) if len(set(values)) > 1 else values[0]
        text = f"{field.description}, " if field.description else ""
        group.add_argument(
            f"--{_option(name)}",
            dest=f"recipe_{name}",
            metavar="X",
            help=f"{text}default {default}".replace("%", "%%"),
        )


def _option(field: str) -> str:
    return field.replace("_", "-")


def _place(fields: Sequence[object]) -> str:
    """Return the option that an error names, as a prefix; empty if it names none."""
    return f"--{_option(str(fields[0]))}: " if fields else ""


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _recipe_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the recipe's given fields as validated values. Raises pydantic.ValidationError."""
    given: dict[str, Any] = {}
    for name in Recipe.model_fields:
        text = getattr(arguments, f"recipe_{name}")
        if text is not None:
            given[name] = None if text.lower() == "none" else text
    checked = OWSM.changed(**_compatible(given))
    return {name: getattr(checked, name) for name in given}


def _compatible(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in values that pass the checks between fields; those depend on the base and run later."""
    return {"batch_utterances": 1, "min_batches_per_epoch": 1, "max_batches_per_epoch": None, **given}


def _check_paths(settings: RunSettings) -> None:
    """Raise SsvdError for data that are not there and a folder that cannot be written."""
    for source in filter(None, (settings.data, settings.valid, settings.test)):
        check_source(source)
    check_output_folder(settings.out, "--out")


def _settings(arguments: argparse.Namespace) -> RunSettings:
    check_name(arguments.domain)
    if arguments.publish:
        check_not_over_builtin(AdapterStore(arguments.store), arguments.domain, arguments.over)
    elif arguments.over is not None:
        raise SsvdError("--over is for --publish")
    settings = RunSettings(
        domain=arguments.domain,
        data=arguments.data,
        valid=arguments.valid,
        test=arguments.test,
        out=arguments.out or Path("runs") / arguments.domain,
        base=arguments.base,
        config=arguments.config,
        checkpoint=arguments.checkpoint,
        method=arguments.method,
        rotation_map=arguments.map,
        p=arguments.p,
        k=arguments.k,
        overrides=dict(arguments.override) or None,
        budget=arguments.budget,
        budget_rule=arguments.budget_rule,
        sides=arguments.sides,
        directions=arguments.directions,
        delta_sigma=arguments.delta_sigma,
        off_diagonals=arguments.off_diagonals,
        scope=arguments.scope,
        rank=arguments.rank,
        alpha=arguments.alpha,
        embedding=arguments.embedding,
        scale=arguments.scale,
        language=arguments.language,
        device=arguments.device,
        dtype=arguments.dtype,
        min_usable=arguments.min_usable,
        cache_bytes=int(arguments.cache_gib * 2**30),
        recompute=arguments.recompute,
        resume=arguments.resume,
        publish=arguments.publish,
        store=arguments.store,
    )
    check_choices(settings)
    return settings
