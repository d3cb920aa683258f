"""Command of the recipe: python -m recipes.tuxpaint --language ro --out DIR"""

from __future__ import annotations

import argparse
import sys

from recipes.debian.command import Clips, DebianRecipe, run
from recipes.debian.package import Package
from recipes.tuxpaint.corpus import PLACES, clips


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--language",
        required=True,
        metavar="LL",
        help="as the files name it: ro, es, ru, fr, bg, el, be, ca, da, nl, en, pt_BR",
    )


def _clips(package: Package, arguments: argparse.Namespace) -> Clips:
    return clips(package.find(*PLACES), arguments.language)


RECIPE = DebianRecipe(
    name="tuxpaint",
    description="Descriptions of Tux Paint's stamps, spoken by volunteers, to manifests.",
    packages=("tuxpaint-stamps-default",),
    licence="GPL-2 or later (/usr/share/doc/tuxpaint-stamps-default/copyright)",
    clips=_clips,
    add_options=_add_options,
    translates=True,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE))
