"""Recall of words absent from the training data, to tell learnt voices from learnt words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jiwer

from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from ssvd_asr.scoring import normalise

if TYPE_CHECKING:
    from training.evaluate import Decoded


def words_of(manifest: Path) -> frozenset[str]:
    """Return the words of a manifest's texts, normalised as for scoring."""
    texts = [entry.text for entry in read_entries(manifest) if isinstance(entry, Utterance)]
    return frozenset(word for text in texts for word in normalise(text).split())


def unseen_recall(decoded: Sequence[Decoded], heard: frozenset[str]) -> tuple[int, int]:
    """Return how many reference words outside ``heard`` were recognised in place, and how many there are."""
    right = total = 0
    for one in decoded:
        words = normalise(one.reference).split()
        total += sum(word not in heard for word in words)
        if not words:
            continue
        found = jiwer.process_words(" ".join(words), normalise(one.hypothesis))
        for chunk in found.alignments[0]:
            if chunk.type == "equal":
                right += sum(word not in heard for word in words[chunk.ref_start_idx : chunk.ref_end_idx])
    return right, total
