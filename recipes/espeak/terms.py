"""Corpora of sentences with names and terms that owsm-nano's training never said, for keywords.py."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from recipes.espeak.grammar import Grammar, load_words
from recipes.espeak.speak import childlike, draw_speaker, is_child, write_utterance

TERMS_FILE = Path(__file__).with_name("terms.txt")


def load_terms(split: str) -> list[str]:
    """Return the terms of `valid` or `test`; no term is in both, nor a word of the grammar."""
    return [term.replace("_", " ") for term in load_words(TERMS_FILE)[split]]


def said_in(text: str, terms: Sequence[str]) -> dict[str, int]:
    """Return how often a text says each of the terms that it says, word by word."""
    padded = f" {' '.join(text.split())} ".replace(" ", "  ")
    counts = {term: padded.count(f" {term.replace(' ', '  ')} ") for term in terms}
    return {term: count for term, count in counts.items() if count}


def sentence(domain: str, split: str, index: int, terms: Sequence[str]) -> tuple[str, random.Random]:
    """Return a sentence in which the grammar's names are terms, and the state of its random numbers."""
    rng = random.Random(f"terms/{domain}/{split}/{index}")
    grammar = Grammar(rng, {**load_words(), "name": list(terms)})
    while not said_in(text := grammar.sentence(), terms):
        pass
    return (childlike(text, rng) if is_child(domain) else text), rng


def speak_terms(domain: str, split: str, utterances: int, folder: Path) -> Path:
    """Speak a corpus of a domain in the split's voices. Return its manifest; one that is there is kept."""
    manifest = folder / "manifest.jsonl"
    if manifest.is_file():
        return manifest
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    terms = load_terms(split)
    entries = []
    for index in range(utterances):
        text, rng = sentence(domain, split, index, terms)
        speaker = draw_speaker(domain, split, rng)
        entry = write_utterance(folder, f"{domain}-terms-{split}-{index:06d}", text, domain, speaker)
        if entry is not None:
            entries.append(json.dumps(entry) + "\n")
    part = manifest.with_suffix(".part")
    part.write_text("".join(entries), encoding="utf-8")
    part.replace(manifest)
    return manifest
