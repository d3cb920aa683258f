"""Corpora of the grammar's sentences spoken by espeak-ng: a folder of WAV files and a manifest.

    python -m recipes.espeak.speak --domain adult --split train --utterances 10000 --out data/espeak

Splits share no voice and no sentence: the hash of a sentence gives its split, and ``voices.py`` lists the
variants of each split. Utterance i of a (domain, split) is the same in every run.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from tqdm import tqdm

from recipes.espeak.grammar import Grammar, load_words, plural
from recipes.espeak.voices import choose_variant, data_folder
from ssvd_asr.parser import CommandParser

_Formatter = argparse.RawDescriptionHelpFormatter
SAMPLE_RATE = 16_000
SPLITS = ("train", "valid", "test")
UNSEEN = "unseen"  # the test split's voices, with words outside the first HEARD training sentences
HEARD = 600  # training sentences, which include all that `ssvd bench methods` trains on
MAX_DURATION_S = 14.5

_TEN_ACCENTS = ("us", "rp", "scotland", "caribbean", "midlands")
_ESPEAK = dict(
    zip(_TEN_ACCENTS, ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbcwmd"), strict=True)
)
TEN = tuple(f"{age}-{accent}" for age in ("adult", "child") for accent in _TEN_ACCENTS)
ACCENTS = {
    "adult": ("en-us", "en-gb-x-rp"),
    "child": ("en-us", "en-gb-x-rp"),
    "scottish": ("en-gb-scotland",),
    **{name: (_ESPEAK[name.partition("-")[2]],) for name in TEN},
}


@dataclass(frozen=True)
class Speaker:
    """Settings of espeak-ng for an utterance, and of the processing of its output."""

    accent: str
    variant: str
    words_per_minute: int  # after the vocal-tract scaling
    pitch: int  # espeak-ng's 0..99
    tract_scale: float = 1.0  # > 1: shorter vocal tract, all formants up by this factor
    level: float = 0.3  # peak of the waveform


def split_of(sentence: str) -> str:
    """Return the split of a sentence by its SHA-256: 5 % test, 5 % valid, the rest train."""
    bucket = hashlib.sha256(sentence.encode()).digest()[0] % 20
    return {0: "test", 1: "valid"}.get(bucket, "train")


def is_child(domain: str) -> bool:
    """Return whether children speak in a domain."""
    return domain.partition("-")[0] == "child"


def draw_speaker(domain: str, split: str, rng: random.Random) -> Speaker:
    """Draw a voice of ``domain`` from the variants of ``split``."""
    accent, variant = rng.choice(ACCENTS[domain]), choose_variant(split, rng)
    level = 10 ** rng.uniform(-1.3, -0.1)
    if is_child(domain):
        return Speaker(
            accent, variant, rng.randint(100, 135), rng.randint(55, 90), rng.uniform(1.15, 1.4), level
        )
    return Speaker(accent, variant, rng.randint(125, 195), rng.randint(15, 80), 1.0, level)


def childlike(text: str, rng: random.Random) -> str:
    """Repeat some words in the text, as children do when they read aloud."""
    words: list[str] = []
    for word in text.split():
        words += [word] * (2 if rng.random() < 0.06 else 1)
    return " ".join(words)


def speaking_rate(speaker: Speaker) -> int:
    """Return espeak-ng's words per minute, which the vocal-tract scaling then raises."""
    return max(80, round(speaker.words_per_minute / speaker.tract_scale))


def espeak(text: str, speaker: Speaker, *, phonemes: bool = False) -> bytes:
    """Run espeak-ng; return WAV bytes, or phoneme mnemonics. Raises CalledProcessError if it fails."""
    voice = speaker.accent if phonemes else f"{speaker.accent}+{speaker.variant}"
    command = [
        "espeak-ng",
        f"--path={data_folder(speaker.variant)}",
        "-v",
        voice,
        "-s",
        str(speaking_rate(speaker)),
        "-p",
        str(speaker.pitch),
    ]
    command += ["-q", "-x"] if phonemes else ["--stdout"]
    return subprocess.run([*command, "--", text], check=True, capture_output=True).stdout


def r_as_w(phonemes: str) -> str:
    """Replace [r] by [w] in espeak-ng's mnemonics, except in ``r-`` and ``r2``."""
    return re.sub(r"r(?![2-])", "w", phonemes)


def child_phonemes(text: str, speaker: Speaker) -> str:
    """Return the mnemonics that a child says for the text, words apart by spaces."""
    return r_as_w(espeak(text, speaker, phonemes=True).decode().strip())


def speak(text: str, domain: str, speaker: Speaker) -> np.ndarray:
    """Return the waveform: float32 mono at SAMPLE_RATE, shape (samples,).

    Raises RuntimeError if espeak-ng's output is silent.
    """
    spoken = f"[[{child_phonemes(text, speaker)}]]" if is_child(domain) else text
    wave: np.ndarray
    wave, rate = sf.read(io.BytesIO(espeak(spoken, speaker)), dtype="float32")
    # Resampling from a nominally higher rate raises formants and pitch together.
    wave = soxr.resample(wave, rate * speaker.tract_scale, SAMPLE_RATE).astype(np.float32)
    peak = float(np.abs(wave).max())
    if not peak > 0:
        raise RuntimeError(f"espeak-ng spoke nothing for {text!r} with {speaker}")
    return wave * np.float32(speaker.level / peak)


def utterance(domain: str, split: str, index: int) -> tuple[str, Speaker]:
    """Return sentence and speaker of utterance ``index``, which depend on the three arguments only."""
    rng = random.Random(f"{domain}/{split}/{index}")
    grammar, like, known = Grammar(rng), split, frozenset[str]()
    if split == UNSEEN:
        grammar, like, known = Grammar(rng, unheard(domain)), "test", heard(domain)
    while split_of(sentence := grammar.sentence()) != like or known.issuperset(sentence.split()):
        pass
    speaker = draw_speaker(domain, like, rng)
    return (childlike(sentence, rng) if is_child(domain) else sentence), speaker


@functools.cache
def heard(domain: str) -> frozenset[str]:
    """Return the words of the first HEARD training sentences of ``domain``."""
    return frozenset(word for i in range(HEARD) for word in utterance(domain, "train", i)[0].split())


@functools.cache
def unheard(domain: str) -> dict[str, list[str]]:
    """Return the grammar's words without those heard in singular or plural; an empty class keeps all."""
    known = heard(domain)
    return {
        name: [word for word in words if known.isdisjoint((word, plural(word)))] or words
        for name, words in load_words().items()
    }


def write_utterance(
    folder: Path, name: str, text: str, domain: str, speaker: Speaker
) -> dict[str, object] | None:
    """Speak a text into ``folder/audio`` and return its manifest entry; None if it is over MAX_DURATION_S."""
    wave = speak(text, domain, speaker)
    duration_s = len(wave) / SAMPLE_RATE
    if duration_s > MAX_DURATION_S:
        return None
    sf.write(folder / "audio" / f"{name}.wav", wave, SAMPLE_RATE, subtype="PCM_16")
    return {
        "id": name,
        "audio": f"audio/{name}.wav",
        "text": text,
        "speaker": f"{speaker.accent}+{speaker.variant}",
        "duration_s": round(duration_s, 3),
    }


def write_corpus(domain: str, split: str, indices: range, out: Path) -> Iterator[dict[str, object]]:
    """Speak ``indices`` into ``out/audio``; yield a manifest entry each, in order.

    Utterances longer than MAX_DURATION_S are left out.
    """
    (out / "audio").mkdir(parents=True, exist_ok=True)

    def one(index: int) -> dict[str, object] | None:
        text, speaker = utterance(domain, split, index)
        return write_utterance(out, f"{domain}-{split}-{index:06d}", text, domain, speaker)

    with ThreadPoolExecutor(max_workers=2) as pool:
        for entry in pool.map(one, indices):
            if entry is not None:
                yield entry


def main(argv: list[str] | None = None) -> int:
    """Write one corpus folder ``OUT/DOMAIN-SPLIT`` with ``manifest.jsonl``."""
    parser = CommandParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--domain", choices=sorted(ACCENTS), required=True)
    parser.add_argument("--split", choices=(*SPLITS, UNSEEN), required=True)
    parser.add_argument("--utterances", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="index of the first utterance")
    parser.add_argument("--out", type=Path, default=Path("data/espeak"))
    args = parser.parse_args(argv)
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is not installed: apt-get install espeak-ng", file=sys.stderr)
        return 1
    folder = args.out / f"{args.domain}-{args.split}"
    indices = range(args.first, args.first + args.utterances)
    entries = tqdm(write_corpus(args.domain, args.split, indices, folder), total=len(indices), unit="utt")
    temporary = folder / f"manifest.{args.first}.part"
    folder.mkdir(parents=True, exist_ok=True)
    with temporary.open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry) + "\n")
    temporary.replace(folder / ("manifest.jsonl" if args.first == 0 else f"manifest.{args.first}.jsonl"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
