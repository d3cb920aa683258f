"""Long recordings made of short clips, whose words are known: test data for cutting at silences.

Each kind of KINDS is one way to join clips. The clips' own silent ends are taken off first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from recipes.espeak.speak import SAMPLE_RATE, speak, utterance
from training.corpus.joining import faded, trimmed

FloatArray = npt.NDArray[np.float32]

WORDS_A_PAUSE = 5
# Nobody pauses after these. At the end of a phrase espeak-ng speaks some as if alone, "a" as the letter.
_LEANING = (
    "a an the of to in at by from with on into near under above below behind across through towards outside "
    "inside my your his her our their this that these those every another each and because while but or if "
    "is are will can could do not let i we you they he she it"
)
LEANING = frozenset(_LEANING.split())
NOISE_LEVEL = 10 ** (-55 / 20)  # of full scale


@dataclass(frozen=True)
class Clip:
    """One spoken sentence."""

    name: str  # "<domain>-<split>-<number>"
    text: str
    wave: FloatArray  # (samples,) at 16 kHz


@dataclass(frozen=True)
class Recording:
    """Clips joined into one wave, with the place of each clip's first and last sample."""

    wave: FloatArray
    clips: tuple[Clip, ...]
    spans: tuple[tuple[int, int], ...]


Gap = Callable[[random.Random], float]  # seconds of silence before the next clip


@dataclass(frozen=True)
class Kind:
    """How clips are joined."""

    about: str
    gap: Gap
    longest_s: float  # a recording ends with the clip that reaches it
    lead_s: float = 0.0
    noise: float = 0.0  # level
    inner: bool = False  # pauses inside the sentences


def _between(low_s: float, high_s: float) -> Gap:
    return lambda rng: rng.uniform(low_s, high_s)


KINDS: Mapping[str, Kind] = {
    "apart": Kind("sentences 0.5 s apart", _between(0.5, 0.5), 60),
    "pauses": Kind("pauses of 0.6 to 2 s inside sentences too", _between(0.6, 2), 60, inner=True),
    "close": Kind("sentences 0 to 0.15 s apart", _between(0, 0.15), 60),
    "unbroken": Kind("60 s without a pause", _between(0, 0), 60),
    "noise": Kind("sentences 0.5 to 3 s apart in faint noise", _between(0.5, 3), 60, noise=NOISE_LEVEL),
    "lead": Kind("8 s of silence before one sentence", _between(0, 0), 0, lead_s=8.0),
    "hour": Kind("sentences 0.3 to 4 s apart, up to an hour", _between(0.3, 4), 3600),
}


def record(kind: Kind, clips: Sequence[Clip], seed: int = 0) -> Iterator[Recording]:
    """Join the clips, in their order, into recordings of one kind. The same in every run."""
    rng = random.Random(seed)
    waiting: list[Clip] = []
    parts: list[FloatArray] = []
    spans: list[tuple[int, int]] = []
    length = 0

    def add(wave: FloatArray) -> None:
        nonlocal length
        parts.append(wave)
        length += len(wave)

    for clip in clips:
        if waiting:
            add(_silence(kind.gap(rng)))
        else:
            add(_silence(kind.lead_s))
        wave = _with_pauses(clip, rng) if kind.inner else faded(trimmed(clip.wave))
        spans.append((length, length + len(wave)))
        waiting.append(clip)
        add(wave)
        if length >= kind.longest_s * SAMPLE_RATE:
            yield _recording(kind, parts, waiting, spans, rng)
            waiting, parts, spans, length = [], [], [], 0
    if waiting and (kind.longest_s > 60 or length >= kind.longest_s * SAMPLE_RATE / 2):
        yield _recording(kind, parts, waiting, spans, rng)


def _recording(
    kind: Kind,
    parts: Sequence[FloatArray],
    clips: Sequence[Clip],
    spans: Sequence[tuple[int, int]],
    rng: random.Random,
) -> Recording:
    wave = np.concatenate(parts)
    if kind.noise:
        wave = noisy(wave, kind.noise, rng.randrange(2**32))
    return Recording(wave, tuple(clips), tuple(spans))


def noisy(wave: FloatArray, level: float, seed: int) -> FloatArray:
    """The wave with white noise of this level (standard deviation, of full scale)."""
    noise = np.random.default_rng(seed).standard_normal(len(wave))
    return (wave + level * noise).astype(np.float32)


def _with_pauses(clip: Clip, rng: random.Random) -> FloatArray:
    """The phrases of a sentence, 0.6 to 2 s apart."""
    parts: list[FloatArray] = []
    for phrase in phrases(clip):
        if parts:
            parts.append(_silence(rng.uniform(0.6, 2)))
        parts.append(faded(trimmed(phrase)))
    return np.concatenate(parts)


def phrases(clip: Clip) -> list[FloatArray]:
    """The sentence spoken anew by its voice in phrases of about WORDS_A_PAUSE words, the same in every run.

    Silence put into the clip would tear words apart: espeak-ng's word events are not exact enough.
    """
    rng = random.Random(clip.name)
    domain, split, number = clip.name.rsplit("-", 2)
    text, speaker = utterance(domain, split, int(number))
    words = text.split()
    pauses = max(1, round(len(words) / WORDS_A_PAUSE)) if len(words) >= 4 else 0
    places = [place for place in range(1, len(words)) if words[place - 1] not in LEANING]
    edges = [0, *sorted(rng.sample(places, min(pauses, len(places)))), len(words)]
    return [speak(" ".join(words[start:stop]), domain, speaker) for start, stop in pairwise(edges)]


def _silence(duration_s: float) -> FloatArray:
    return np.zeros(round(duration_s * SAMPLE_RATE), dtype=np.float32)
