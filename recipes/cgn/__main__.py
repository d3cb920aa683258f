"""Command of the CGN recipe: python -m recipes.cgn --corpus DIR --out DIR [--train SIZE ...]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recipes.cgn.corpus import CgnReader
from recipes.paper.command import CorpusRecipe, run


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations", type=Path, metavar="DIR", help="where data/annot/ is, if not in the corpus's folder"
    )
    parser.add_argument(
        "--min-words",
        type=int,
        default=1,
        metavar="N",
        help="leave out shorter utterances (default %(default)s)",
    )
    parser.add_argument(
        "--drop-overlap", action="store_true", help="leave out utterances during which someone else speaks"
    )


def _reader(arguments: argparse.Namespace) -> CgnReader:
    return CgnReader(
        corpus=arguments.corpus,
        annotations=arguments.annotations or arguments.corpus,
        case=arguments.case,
        min_words=arguments.min_words,
        drop_overlap=arguments.drop_overlap,
    )


RECIPE = CorpusRecipe(
    name="cgn",
    language="nld",
    description="CGN without components c, d and f to manifests, to adapters, to a table.",
    case="keep",
    add_options=_add_options,
    reader=_reader,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE))
