"""Packaged samples of a domain: Opus clips and manifests, enough to try `ssvd train`.

python -m recipes.espeak.samples --domain child

Takes the first clips of each of the domain's splits, so voices and sentences stay disjoint.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import soundfile as sf

from adapters_store.packaged import PACKAGED
from ssvd_asr.parser import CommandParser

SAMPLES = {"train": 100, "valid": 20, "test": 40}
OPUS_QUALITY = 0.95  # of libsndfile; 0 is the largest file. 160 clips: 3.3 MB at 0.85, 1.7 MB at 0.95


def write_samples(data: Path, domain: str, target: Path) -> int:
    """Write ``target/*.opus`` and ``target/{train,valid,test}.jsonl``; return the bytes of audio."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    written = 0
    for split, count in SAMPLES.items():
        corpus = data / f"{domain}-{split}"
        lines = (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[:count]
        entries = [json.loads(line) for line in lines]
        for entry in entries:
            wave, rate = sf.read(corpus / entry["audio"], dtype="float32")
            clip = target / f"{entry['id']}.opus"
            sf.write(clip, wave, rate, format="OGG", subtype="OPUS", compression_level=OPUS_QUALITY)
            entry["audio"] = clip.name
            written += clip.stat().st_size
        manifest = "".join(json.dumps(entry) + "\n" for entry in entries)
        (target / f"{split}.jsonl").write_text(manifest, encoding="utf-8")
    return written


def main(argv: list[str] | None = None) -> int:
    """Write the samples of ``--domain``."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    args = parser.parse_args(argv)
    target = PACKAGED / args.domain / "samples"
    print(f"{write_samples(args.data, args.domain, target) / 1e6:.2f} MB of clips in {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
