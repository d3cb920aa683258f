"""Command of the recipe: python -m recipes.fillets --language nl --out DIR"""

from __future__ import annotations

import argparse
import sys

from recipes.debian.command import Clips, DebianRecipe, run
from recipes.debian.package import Package
from recipes.fillets.corpus import LANGUAGES, PLACES, FilletsReader


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--language", choices=LANGUAGES, required=True, help="of the actors")


def _clips(package: Package, arguments: argparse.Namespace) -> Clips:
    return FilletsReader(package.find(*PLACES).parent, arguments.language).clips()


RECIPE = DebianRecipe(
    name="fillets",
    description="Dialogues of the game Fish Fillets, spoken by Dutch or Czech actors, to manifests.",
    packages=("fillets-ng-data", "fillets-ng-data-nl", "fillets-ng-data-cs"),
    licence="GPL-2 (/usr/share/doc/fillets-ng-data-*/copyright)",
    clips=_clips,
    add_options=_add_options,
    translates=True,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE))
