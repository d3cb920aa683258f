"""Arguments that `ssvd train` and `ssvd evaluate` share. Imports no torch."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from ssvd_asr.errors import LanguageError
from ssvd_asr.languages import language_symbol


def add_base_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --base, --config, --checkpoint, --device and --language."""
    group = parser.add_argument_group("base model")
    group.add_argument("--base", default="owsm-nano", help="name, hub tag or folder (default %(default)s)")
    group.add_argument("--config", type=Path, help="config.yaml of a base given by its files")
    group.add_argument("--checkpoint", type=Path, help="weights of a base given by its files")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default %(default)s)")
    group.add_argument(
        "--language", type=language, default="<eng>", help="as en, eng, en-US or english (default eng)"
    )


def language(text: str) -> str:
    """Return the symbol of a language: `<eng>` for `en`, `en-US`, `eng`, `<eng>` and `english`."""
    try:
        return language_symbol(text)
    except LanguageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def min_usable(text: str) -> int | float:
    """Parse a count (`20`) or a share between 0 and 1 (`0.9`, `90%`)."""
    if re.fullmatch(r"\d+", text):
        return int(text)
    value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a count nor a share between 0 and 1")
    return value


def share(text: str) -> float:
    """Parse a number above 0 and at most 1."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def gibibytes(text: str) -> float:
    """Parse a size of 0 or more, in GiB."""
    value = float(text)
    if not 0 <= value < 2**20:
        raise argparse.ArgumentTypeError(f"{text} is no size in GiB")
    return value


def count(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def override(text: str) -> tuple[str, int | float]:
    """Parse PATTERN=SIZE: `encoder.embed.out=16` sets k, `output_layer=0.1` sets p."""
    pattern, sign, size = text.rpartition("=")
    if not sign or not pattern:
        raise argparse.ArgumentTypeError(f"{text!r} is not PATTERN=K")
    return pattern, int(size) if re.fullmatch(r"\d+", size) else share(size)
