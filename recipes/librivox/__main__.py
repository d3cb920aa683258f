"""Command of the recipe: python -m recipes.librivox --out DIR"""

from __future__ import annotations

import argparse
import sys

from recipes.debian.command import Clips, DebianRecipe, run
from recipes.debian.package import Package
from recipes.librivox.corpus import PLACE, SPLIT, clips


def _clips(package: Package, _arguments: argparse.Namespace) -> Clips:
    return clips(package.find(PLACE))


RECIPE = DebianRecipe(
    name="librivox",
    description="Five sentences of Sense and Sensibility, read for LibriVox, to one manifest, test.jsonl.",
    packages=("pocketsphinx-testdata",),
    licence="BSD-2-Clause (/usr/share/doc/pocketsphinx-testdata/copyright); LibriVox's are public domain",
    clips=_clips,
    splits=(SPLIT,),
)

if __name__ == "__main__":
    sys.exit(run(RECIPE))
