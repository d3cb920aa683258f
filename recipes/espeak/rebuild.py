"""Rebuild everything that depends on owsm-nano's weights: adapters, samples, results, golden transcripts.

    python -m recipes.espeak.rebuild                  # after recipes.espeak.train_base
    python -m recipes.espeak.rebuild --only results   # or any other of STEPS

The steps ``corpora`` and ``train`` skip what exists already; the others always run again. ``train`` resumes
an interrupted run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adapters_store.packaged import PACKAGED, builtins, write_builtin
from adapters_store.voices import FOLDER, write_beside
from recipes.espeak import goldens, package, results, samples, speak
from ssvd_asr.base.load import load_base
from ssvd_asr.parser import CommandParser
from training import train_command
from training.voices import voice_summary

DOMAINS = ("child", "scottish")
UTTERANCES = {"train": 1500, "valid": 200, "test": 600, speak.UNSEEN: 300}
ADULT = {"train": 36_000, "valid": 300, "test": 600}
P = 0.5  # k = 64 of 128: 4.3 % of the model's parameters, under 1 MB in half precision
EPOCHS = 6
STEPS = ("corpora", "package", "train", "voices", "samples", "results", "goldens")


def corpora(data: Path, _: Path) -> None:
    """Speak every missing corpus."""
    for domain in ("adult", *DOMAINS):
        for split, count in (ADULT if domain == "adult" else UTTERANCES).items():
            if not (data / f"{domain}-{split}" / "manifest.jsonl").exists():
                speak.main(
                    ["--domain", domain, "--split", split, "--utterances", str(count), "--out", str(data)]
                )


def package_base(_: Path, runs: Path) -> None:
    """Write the trained base into the package."""
    package.package(runs / "owsm-nano")


def train(data: Path, runs: Path) -> None:
    """Train for each domain an adapter, written as a built-in, and full fine-tuning for comparison."""
    for domain in DOMAINS:
        for method, size in (("ssvd", ["--p", str(P)]), ("full", [])):
            out = runs / f"{domain}-{method}"
            if (out / "result.json").exists():
                continue
            corpus = [f"--{role}={data / f'{domain}-{split}' / 'manifest.jsonl'}" for role, split in
                      (("data", "train"), ("valid", "valid"), ("test", "test"))]  # fmt: skip
            resume = ["--resume"] if (out / "checkpoint.safetensors").exists() else []
            arguments = ["--domain", domain, *corpus, "--out", str(out), "--method", method, *size]
            arguments += ["--epochs", str(EPOCHS), *resume]
            if train_command.main(arguments) != 0:
                raise SystemExit(f"training {domain} by {method} was interrupted; run again to resume")
        write_builtin(PACKAGED, domain, runs / f"{domain}-ssvd" / "adapter.safetensors")


def write_voices(data: Path, _: Path) -> None:
    """Write summaries of the voices of the base and of each domain into the package."""
    base = load_base()
    digests = {"adult": base.digest} | {name: each.sha256 for name, each in builtins(PACKAGED).items()}
    for corpus, digest in digests.items():
        summary = voice_summary(base, data / f"{corpus}-train" / "manifest.jsonl")
        assert summary is not None  # the corpora are large enough
        write_beside(PACKAGED / FOLDER, digest, summary)


def write_samples(data: Path, _: Path) -> None:
    """Write clips of each domain into the package."""
    for domain in DOMAINS:
        samples.write_samples(data, domain, PACKAGED / domain / "samples")


def write_goldens(_: Path, __: Path) -> None:
    """Write the golden transcripts of the samples."""
    goldens.main([])


def main(argv: list[str] | None = None) -> int:
    """Run all steps, or the one of ``--only``."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--runs", type=Path, default=Path("exp"))
    parser.add_argument("--only", choices=STEPS)
    args = parser.parse_args(argv)
    functions = (corpora, package_base, train, write_voices, write_samples, results.write, write_goldens)
    steps = dict(zip(STEPS, functions, strict=True))
    for name in [args.only] if args.only else STEPS:
        print(f"== {name}", file=sys.stderr)
        steps[name](args.data, args.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
