"""Word errors of long recordings, each put down to one of the clips that they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from recipes.espeak.joined import Clip, Recording
from ssvd_asr.scoring import normalise

DRAWS = 2000


@dataclass(frozen=True)
class Errors:
    """Wrong words of an utterance, and how many it has."""

    wrong: int
    words: int


def clip_errors(clips: Sequence[Clip], texts: Sequence[str]) -> dict[str, Errors]:
    """The errors of clips decoded one by one, by their name."""
    found: dict[str, Errors] = {}
    for clip, text in zip(clips, texts, strict=True):
        said = jiwer.process_words(normalise(clip.text), normalise(text))
        wrong = said.substitutions + said.deletions + said.insertions
        found[clip.name] = Errors(wrong, len(normalise(clip.text).split()))
    return found


def recording_errors(recording: Recording, text: str) -> dict[str, Errors]:
    """The errors of a recording's text, each put down to the clip in whose words it falls."""
    clips = [normalise(clip.text).split() for clip in recording.clips]
    owner = [index for index, words in enumerate(clips) for _ in words]
    wrong = [0] * len(clips)
    said = jiwer.process_words(" ".join(" ".join(words) for words in clips), normalise(text))
    for chunk in said.alignments[0]:
        if chunk.type == "insert":
            wrong[owner[min(chunk.ref_start_idx, len(owner) - 1)]] += chunk.hyp_end_idx - chunk.hyp_start_idx
        elif chunk.type != "equal":
            for place in range(chunk.ref_start_idx, chunk.ref_end_idx):
                wrong[owner[place]] += 1
    return {
        clip.name: Errors(count, len(words))
        for clip, count, words in zip(recording.clips, wrong, clips, strict=True)
    }


def compare(ours: Mapping[str, Errors], clips: Mapping[str, Errors], seed: int = 0) -> dict[str, float]:
    """WER of recordings and of the same clips one by one, and their difference with its 95 % interval."""
    names = sorted(ours)
    more = np.array([ours[name].wrong - clips[name].wrong for name in names])
    words = np.array([ours[name].words for name in names])
    drawn = np.random.default_rng(seed).integers(len(names), size=(DRAWS, len(names)))
    low, high = np.percentile(more[drawn].sum(axis=1) / words[drawn].sum(axis=1), [2.5, 97.5])
    total = int(words.sum())
    return {
        "wer": sum(ours[name].wrong for name in names) / total,
        "wer_clips": sum(clips[name].wrong for name in names) / total,
        "difference": float(more.sum() / total),
        "low": float(low),
        "high": float(high),
    }
