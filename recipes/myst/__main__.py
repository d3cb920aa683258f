"""Command of the MyST recipe: python -m recipes.myst --corpus DIR --out DIR [--train SIZE ...]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recipes.myst.corpus import PARTITIONS, MystReader
from recipes.myst.filters import read_figures, read_ids
from recipes.paper.command import CorpusRecipe, run


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--whisper",
        type=Path,
        metavar="FILE",
        help="Whisper-large's WER or words for each utterance: .jsonl (id, and wer or hyp), or Kaldi text",
    )
    parser.add_argument(
        "--keep", type=_split_and_file, action="append", default=[], metavar="SPLIT=FILE",
        help="in this split exactly the utterances of this list, as the authors' conf/file_list/test.list",
    )  # fmt: skip


def _split_and_file(text: str) -> tuple[str, Path]:
    split, sign, path = text.partition("=")
    if not sign or split not in PARTITIONS.values():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not SPLIT=FILE, SPLIT of {', '.join(PARTITIONS.values())}"
        )
    return split, Path(path)


def _reader(arguments: argparse.Namespace) -> MystReader:
    return MystReader(
        corpus=arguments.corpus,
        case=arguments.case,
        whisper=read_figures(arguments.whisper) if arguments.whisper else None,
        keep={split: read_ids(path) for split, path in arguments.keep},
    )


RECIPE = CorpusRecipe(
    name="myst",
    language="eng",
    description="MyST (LDC2021S05) to manifests by the paper's filters, to adapters, to a table.",
    case="upper",
    add_options=_add_options,
    reader=_reader,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE))
