"""Prefix tree of keywords' pieces, and the bonus that a hypothesis has for what it says along it.

A hypothesis gains a share of a keyword's bonus with each of the keyword's pieces, so that a beam does not
drop the word half-way. It loses all of it if the word breaks off, or if letters follow that make it another
word.
The sums are those of shallow fusion with a context graph: Zhao et al., "Shallow-fusion end-to-end contextual
biasing" (2019), and the context graphs of WeNet and icefall, which give a bonus for each piece and take it
back on failure. As there, the bonus counts before the beam is cut. Three rules are our own: a keyword begins
and ends at edges of words, all spellings of a keyword have the same bonus, and of keywords that overlap those
count that give the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ssvd_asr.base.model import Tokens
from ssvd_asr.decoding.keywords import spellings
from ssvd_asr.decoding.word_edges import Kind, WordEdges, word_edges


@dataclass(eq=False)
class Node:
    """Beginning of spellings. `value`: the share of the best bonus that it leads to."""

    value: float = 0.0
    bonus: float = 0.0  # of the keyword that ends here, if one does
    ends: Kind = "sign"  # the kind of its last character
    children: dict[int, Node] = field(default_factory=dict)


class Match(NamedTuple):
    """What a hypothesis has said of keywords.

    Attributes:
        kept: bonus of the keywords that are completed, nats.
        open: keywords that it may be in the middle of, or at the end of, each with what was kept before it.
        end: the kind of the text's last character.
        value: its whole bonus, with the shares of those that are open, nats.
    """

    kept: float = 0.0
    open: tuple[tuple[Node, float], ...] = ()
    end: Kind = "sign"
    value: float = 0.0

    @property
    def unearned(self) -> float:
        """The part of `value` that is lost if nothing of what is open is completed, nats."""
        return self.value - self.kept


class Changes(NamedTuple):
    """Changes of a bonus by the next token, nats: of all tokens, and what is added for some of them.

    Attributes:
        inside: of tokens that go on within a word, if the text ends with a letter.
        ended: of the others.
        tokens, gains: those that go on along the tree, and what each gets beside.
    """

    inside: float
    ended: float
    tokens: Sequence[int]
    gains: Sequence[float]


class KeywordTree:
    """Prefix tree of the spellings of one row's keywords."""

    def __init__(self, tokens: Tokens, keywords: Sequence[str], device: torch.device, bonus: float) -> None:
        """Spell the keywords. Those that the vocabulary lacks are not in the tree.

        bonus: natural log, for each piece of a keyword's shortest spelling.
        """
        self.edges: WordEdges = word_edges(tokens, device)
        self._root = Node()
        for keyword in keywords:
            spelled = spellings(tokens, keyword)
            for ids in spelled:
                self._add(ids, bonus * min(map(len, spelled)))

    def _add(self, ids: Sequence[int], bonus: float) -> None:
        node = self._root
        for depth, index in enumerate(ids, 1):
            node = node.children.setdefault(index, Node(ends=self.edges.ends[index]))
            node.value = max(node.value, bonus * depth / len(ids))
        node.bonus = max(node.bonus, bonus)

    def after(self, match: Match, token: int) -> Match:
        """Return what a hypothesis has said once it says this token too."""
        edges = self.edges
        kept = self._kept(match, edges.begins[token])
        opened: dict[int, tuple[Node, float]] = {}
        begun = [(self._root, kept)] if self._may_begin(match.end, token) else []
        for node, before in [*match.open, *begun]:
            child = node.children.get(token)
            if child is not None and before >= opened.get(id(child), (child, before))[1]:
                opened[id(child)] = (child, before)
        reached = tuple(opened.values())
        value = max([kept, *(before + child.value for child, before in reached)])
        return Match(kept, reached, edges.ends[token], value)

    def changes(self, match: Match) -> Changes:
        """Return by how much each next token of a hypothesis changes its bonus."""
        beginnings = self._beginnings[match.end == "letter"]
        if not match.open:
            return beginnings
        ended = self._kept(match, "sign") - match.value
        inside = self._kept(match, "letter") - match.value
        lost = {"letter": inside, "unspaced": ended, "sign": ended}
        known = dict(zip(beginnings.tokens, beginnings.gains, strict=True))
        for node, _ in match.open:
            for token in node.children:
                # `lost` is added to every token.
                gained = self.after(match, token).value - match.value
                known[token] = gained - lost[self.edges.begins[token]]
        return Changes(inside, ended, list(known), list(known.values()))

    @staticmethod
    def _kept(match: Match, following: Kind) -> float:
        """Return the bonus of what is completed once a character of this kind follows."""
        ended = (
            before + node.bonus
            for node, before in match.open
            if node.bonus and not (node.ends == "letter" and following == "letter")
        )
        return max([match.kept, *ended])

    def _may_begin(self, end: Kind, token: int) -> bool:
        """Return whether a keyword may begin with this token, after a text that ends so."""
        return not (end == "letter" and self.edges.begins[token] == "letter")

    @cached_property
    def _beginnings(self) -> tuple[Changes, Changes]:
        """The changes where no keyword is open: after no letter, and after a letter."""
        found = {token: child.value for token, child in self._root.children.items()}
        inside = {token: value for token, value in found.items() if self._may_begin("letter", token)}
        return (
            Changes(0.0, 0.0, list(found), list(found.values())),
            Changes(0.0, 0.0, list(inside), list(inside.values())),
        )


def add_bonus(scores: Tensor, trees: Sequence[KeywordTree | None], matches: Sequence[Match]) -> None:
    """Add to the scores (R, V) of next tokens what each changes in its hypothesis' bonus, in place.

    trees, matches: of each row. Rows without a tree stay as they are.
    """
    found = [(row, tree.changes(matches[row])) for row, tree in enumerate(trees) if tree is not None]
    if not found:
        return
    if any(each.inside or each.ended for _, each in found):
        lost = torch.zeros(2, len(scores))
        for row, each in found:
            lost[0, row], lost[1, row] = each.inside, each.ended
        inside, ended = lost.to(scores).unsqueeze(2)
        edges = next(tree.edges for tree in trees if tree is not None)
        scores += torch.where(edges.goes_on, inside, ended)
    width = scores.size(1)
    places = [row * width + token for row, each in found for token in each.tokens]
    gains = [gain for _, each in found for gain in each.gains]
    scores.view(-1).index_add_(0, torch.tensor(places, device=scores.device), torch.tensor(gains).to(scores))
