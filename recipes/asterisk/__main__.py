"""Command of the recipe: python -m recipes.asterisk --out DIR"""

from __future__ import annotations

import argparse
import sys

from recipes.asterisk.corpus import SOUNDS, TEXTS, clips
from recipes.debian.command import Clips, DebianRecipe, run
from recipes.debian.package import Package


def _clips(package: Package, _arguments: argparse.Namespace) -> Clips:
    return clips(package.find(SOUNDS), package.find(*TEXTS))


RECIPE = DebianRecipe(
    name="asterisk",
    description="Telephone prompts of Asterisk in American English, at 8 kHz, to manifests.",
    packages=("asterisk-core-sounds-en-wav", "asterisk-core-sounds-en"),
    licence="CC-BY-SA-3.0, recorded by Allison Smith (/usr/share/doc/asterisk-core-sounds-en/copyright)",
    clips=_clips,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE))
