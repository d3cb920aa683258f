"""Words that training never said, counted where they stand."""

from __future__ import annotations

from training.bench.unseen import unseen_recall
from training.evaluate import Decoded


def test_only_unheard_words_in_their_place_count() -> None:
    heard = frozenset({"the", "cat", "saw"})
    decoded = [
        Decoded("a", "The badger saw the otter.", "the badger saw an otter otter"),  # 2 of 2
        Decoded("b", "badger badger", "badger"),  # 1 of 2
        Decoded("c", "the otter saw", "otter the saw"),  # in another place: an insertion before, a deletion
        Decoded("d", "the cat", ""),  # none to find
        Decoded("e", "", "otter"),
    ]
    right, total = unseen_recall(decoded, heard)
    assert total == 5
    assert right in (3, 4)  # of c, either "the" or "otter" is aligned
    assert unseen_recall(decoded[:2], frozenset()) == (3 + 2, 7)
