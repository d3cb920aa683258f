"""Prefix tree of keywords' pieces, and the bonus that a hypothesis has for what it says along it.

A hypothesis gains a share of a keyword's bonus with each of the keyword's pieces, so that a beam does not
drop the word half-way. It loses all of it if the word breaks off, or if letters follow that make it another
word.
The sums are those of shallow fusion with a context graph: Zhao et al., "Shallow-fusion end-to-end contextual
biasing" (2019), and the context graphs of WeNet and icefall, which give a bonus for each piece and take it
back on failure. As there, the bonus counts before the beam is cut. Four rules are our own: a keyword begins
and ends at edges of words, all spellings of a keyword have the same bonus, of keywords that overlap those
count that give the most, and a keyword that is said again has half of what it had the time before. A bonus
without that bound pays for repeating a keyword without end.
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

AGAIN = 0.5  # factor on a keyword's bonus for each time that it has been said before
Said = tuple[int, ...]  # keywords by their places in the list, in the order in which they are completed


@dataclass(eq=False)
class Node:
    """Beginning of spellings.

    Attributes:
        value: the share of the best bonus that it leads to, nats.
        leads_to: the keyword that has that bonus.
        bonus: of the keyword that ends here, nats; 0 if none does.
        keyword: that keyword.
        ends: the kind of its last character.
    """

    value: float = 0.0
    leads_to: int = -1
    bonus: float = 0.0
    keyword: int = -1
    ends: Kind = "sign"
    children: dict[int, Node] = field(default_factory=dict)

    def share(self, said: Said) -> float:
        """Return its value after these keywords."""
        return self.value * AGAIN ** said.count(self.leads_to)


class Open(NamedTuple):
    """Keyword that a hypothesis may be in the middle or at the end of, and what was kept and said before."""

    node: Node
    before: float
    said: Said


class Match(NamedTuple):
    """What a hypothesis has said of keywords.

    Attributes:
        kept: bonus of the keywords that are completed, nats.
        said: these keywords.
        open: those that may not be completed.
        end: the kind of the text's last character.
        value: its whole bonus, with the shares of those that are open, nats.
    """

    kept: float = 0.0
    said: Said = ()
    open: tuple[Open, ...] = ()
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
        for place, keyword in enumerate(sorted(set(keywords))):
            spelled = spellings(tokens, keyword)
            for ids in spelled:
                self._add(place, ids, bonus * min(map(len, spelled)))

    def _add(self, keyword: int, ids: Sequence[int], bonus: float) -> None:
        node = self._root
        for depth, index in enumerate(ids, 1):
            node = node.children.setdefault(index, Node(ends=self.edges.ends[index]))
            if bonus * depth / len(ids) > node.value:
                node.value, node.leads_to = bonus * depth / len(ids), keyword
        if bonus > node.bonus:
            node.bonus, node.keyword = bonus, keyword

    def after(self, match: Match, token: int) -> Match:
        """Return what a hypothesis has said once it says this token too."""
        edges = self.edges
        kept, said = self._kept(match, edges.begins[token])
        opened: dict[int, Open] = {}
        begun = [Open(self._root, kept, said)] if self._may_begin(match.end, token) else []
        for node, before, earlier in [*match.open, *begun]:
            child = node.children.get(token)
            if child is not None and (id(child) not in opened or before > opened[id(child)].before):
                opened[id(child)] = Open(child, before, earlier)
        reached = tuple(opened.values())
        value = max([kept, *(each.before + each.node.share(each.said) for each in reached)])
        return Match(kept, said, reached, edges.ends[token], value)

    def changes(self, match: Match) -> Changes:
        """Return by how much each next token of a hypothesis changes its bonus."""
        beginnings = self._beginnings[match.end == "letter"]
        if not match.open and not match.said:
            return beginnings
        ended = self._kept(match, "sign")[0] - match.value
        inside = self._kept(match, "letter")[0] - match.value
        lost = {"letter": inside, "unspaced": ended, "sign": ended}
        known = dict(zip(beginnings.tokens, beginnings.gains, strict=True))
        said = {*match.said, *(each.node.keyword for each in match.open)}
        again = [token for token in known if self._root.children[token].leads_to in said]
        for token in dict.fromkeys([*again, *(token for each in match.open for token in each.node.children)]):
            # `lost` is added to every token.
            gained = self.after(match, token).value - match.value
            known[token] = gained - lost[self.edges.begins[token]]
        return Changes(inside, ended, list(known), list(known.values()))

    @staticmethod
    def _kept(match: Match, following: Kind) -> tuple[float, Said]:
        """Return the bonus and the keywords that are completed once a character of this kind follows."""
        kept, said = match.kept, match.said
        for node, before, earlier in match.open:
            if node.bonus and not (node.ends == "letter" and following == "letter"):
                whole = before + node.bonus * AGAIN ** earlier.count(node.keyword)
                if whole > kept:
                    kept, said = whole, (*earlier, node.keyword)
        return kept, said

    def _may_begin(self, end: Kind, token: int) -> bool:
        """Return whether a keyword may begin with this token, after a text that ends so."""
        return not (end == "letter" and self.edges.begins[token] == "letter")

    @cached_property
    def _beginnings(self) -> tuple[Changes, Changes]:
        """The changes where no keyword is open or said: after no letter, and after a letter."""
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
