"""Random sentences of 1 to 20 words from a small grammar with over 1,000 words.

The grammar is deliberately loose: many different words can follow each other, so that a
recogniser cannot guess from the language alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

WORDS_FILE = Path(__file__).with_name("words.txt")
MAX_WORDS = 20

_VOWELS = tuple("aeiou")
_IRREGULAR_PLURAL = {
    "sheep": "sheep", "wolf": "wolves", "knife": "knives", "mouse": "mice", "goose": "geese",
    "child": "children", "woman": "women", "fisherman": "fishermen", "postman": "postmen",
    "loaf": "loaves", "scarf": "scarves", "tooth": "teeth", "foot": "feet", "trousers": "trousers",
    "salmon": "salmon", "buffalo": "buffaloes", "potato": "potatoes", "tomato": "tomatoes",
    "mango": "mangoes", "volcano": "volcanoes",
}  # fmt: skip


def load_words(path: Path = WORDS_FILE) -> dict[str, list[str]]:
    """Read ``class: word word ...`` lines. A word listed twice in a class counts once."""
    words: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(":")
            words[name.strip()] = list(dict.fromkeys(rest.split()))
    return words


def plural(noun: str) -> str:
    """Return the written plural of ``noun``."""
    if noun in _IRREGULAR_PLURAL:
        return _IRREGULAR_PLURAL[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


def article(word: str) -> str:
    """Return ``a`` or ``an`` by the spelling, with three exceptions."""
    spoken_vowel = word.startswith(_VOWELS) or word in {"honest"}
    return "an" if spoken_vowel and word not in {"useful", "europe"} else "a"


class Grammar:
    """Source of sentences from a random generator. The same seed gives the same sentences."""

    def __init__(self, rng: random.Random, words: dict[str, list[str]] | None = None) -> None:
        self.rng = rng
        self.words = load_words() if words is None else words
        self._templates: list[tuple[Callable[[], str], int]] = [
            (self._action, 8), (self._motion, 5), (self._listing, 3), (self._question, 4),
            (self._command, 3), (self._where, 3), (self._date, 3), (self._weather, 2),
            (self._report, 3), (self._salad, 5), (self._numbers, 1),
        ]  # fmt: skip

    def sentence(self) -> str:
        """Return a sentence of 1 to MAX_WORDS lower-case words separated by single spaces."""
        templates = [template for template, _ in self._templates]
        weights = [weight for _, weight in self._templates]
        while True:
            text = self.rng.choices(templates, weights)[0]()
            if self.rng.random() < 0.2:
                text = (
                    f"{text} {self._one('and but because while')} {self.rng.choices(templates, weights)[0]()}"
                )
            if len(text.split()) <= MAX_WORDS:
                return text

    # -- parts -------------------------------------------------------------------------------

    def _pick(self, *classes: str) -> str:
        return self.rng.choice(self.words[self.rng.choice(classes)])

    def _one(self, options: str) -> str:
        return self.rng.choice(options.split())

    def _noun(self) -> str:
        return self._pick("animal", "person", "thing", "thing", "food", "abstract", "body", "place")

    def _qualified(self, noun: str) -> str:
        if self.rng.random() < 0.55:
            noun = f"{self._pick('adjective', 'adjective', 'colour')} {noun}"
        if self.rng.random() < 0.1:
            noun = f"{self._pick('adjective')} {noun}"
        return noun

    def _group(self, noun: str | None = None) -> str:
        noun = noun or self._noun()
        draw = self.rng.random()
        if draw < 0.3:
            return f"{self._pick('number')} {self._qualified(plural(noun))}"
        body = self._qualified(noun)
        if draw < 0.45:
            return f"{article(body.split()[0])} {body}"
        return f"{self._one('the the the this that every my your our his her another')} {body}"

    def _actor(self) -> str:
        if self.rng.random() < 0.3:
            return self._one("i you we they she he") if self.rng.random() < 0.5 else self._pick("name")
        return self._group(self._pick("animal", "person", "person"))

    def _place(self) -> str:
        where = self._one("in near behind under beside above inside outside across from through towards")
        place = self._pick("name") if self.rng.random() < 0.15 else self._group(self._pick("place"))
        return f"{where} {place}"

    # -- templates -----------------------------------------------------------------------------

    def _action(self) -> str:
        text = f"{self._actor()} {self._pick('verbpast')} {self._group()}"
        if self.rng.random() < 0.4:
            text = f"{text} {self._place()}"
        if self.rng.random() < 0.25:
            text = f"{text} {self._pick('time', 'adverb')}"
        return text

    def _motion(self) -> str:
        text = f"{self._actor()} {self._pick('motion')}"
        if self.rng.random() < 0.5:
            text = f"{text} {self._pick('adverb')}"
        return f"{text} {self._place()}" if self.rng.random() < 0.7 else text

    def _listing(self) -> str:
        items = [self._group(self._pick("food", "thing")) for _ in range(self.rng.randint(1, 3))]
        start = self.rng.choice(["", "we bought ", "please bring ", "there were ", "do not forget "])
        return f"{start}{' '.join([*items[:-1], 'and']) + ' ' if len(items) > 1 else ''}{items[-1]}"

    def _question(self) -> str:
        start = self._one("can will should did could must may")
        actor = self._actor()
        text = f"{start} {actor} {self._pick('verbbase')} {self._group()}"
        if self.rng.random() < 0.3:
            text = f"{self._one('why when how where')} {text}"
        return text

    def _command(self) -> str:
        start = self.rng.choice(["please ", "", "never ", "let us ", "do not "])
        return f"{start}{self._pick('verbbase')} {self._group()} {self._pick('adverb', 'time')}"

    def _where(self) -> str:
        return f"{self._group()} is {self._place()}"

    def _date(self) -> str:
        day = f"{self._pick('day')} the {self._pick('ordinal')} of {self._pick('month')}"
        return self.rng.choice(
            [day, f"the {self._pick('abstract')} is on {day}", f"see you on {self._pick('day')}"]
        )

    def _weather(self) -> str:
        weather = f"{self._pick('weather')} and {self._pick('weather')}"
        return f"{weather} {self._one('in near over')} {self._pick('name')}"

    def _report(self) -> str:
        return f"{self._pick('name')} said that {self._action()}"

    def _numbers(self) -> str:
        amount = f"{self._pick('number')} {plural(self._pick('unit'))}"
        return f"it takes {amount} to {self._pick('verbbase')} {self._group()}"

    def _salad(self) -> str:
        """Return unconnected words, for arbitrary neighbours and single words."""
        return " ".join(self._pick(*self.words) for _ in range(self.rng.randint(1, 7)))


def vocabulary(samples: int = 60_000, seed: int = 0) -> set[str]:
    """Return the words of ``samples`` sentences, including inflected forms made by the grammar."""
    grammar = Grammar(random.Random(seed))
    return {word for _ in range(samples) for word in grammar.sentence().split()}
