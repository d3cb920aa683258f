"""The study's runs and scores, and their order.

Every run of a language trains for the same number of steps on the same batches. A config chooses its
learning rate among its `rates` by WER on the validation data of the first language; the run with that rate is
then scored on the test data. Other seeds, the other language and the configs that take another's rate follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Language = Literal["nl", "cs"]
LANGUAGES: Mapping[Language, str] = {"nl": "<nld>", "cs": "<ces>"}
FIRST: Language = "nl"
SEEDS = (1, 2)
STEPS = 200  # of a run, then one validation
AGAIN = "/again"  # ends the key of a run's second result, trained anew because its weights were gone
LOOPING = "/looping"  # ends the key of a score by the search before decoding/repeats.py, which told loops
FORGETTING_UTTERANCES = 100  # of the other language

# What all runs share. The base's own padding is its window; most batches are padded to little more than their
# speech, a few to the window, so that an epoch on two cores takes minutes.
RECIPE: Mapping[str, object] = {
    "epochs": 1,
    "patience": None,
    "min_batches_per_epoch": STEPS,
    "max_batches_per_epoch": STEPS,
    "batch_utterances": None,
    "batch_audio_s": 48.0,
    "accumulation": 1,
    "padding": "mixed",
    "window_share": 0.05,
    "joined_share": 0.3,
    "initial_silence_s": 0.5,
    "timestamp_share": 0.2,
    "warmup_steps": 20,
    "schedule": "cosine",
    "label_smoothing": 0.1,
    "dropout": 0.0,
    "freq_masks": 2,
    "freq_mask_share": 0.1,
    "time_masks": 2,
    "time_mask_share": 0.03,
}


@dataclass(frozen=True)
class Config:
    """A method at one size.

    Attributes:
        options: fields of training.run_settings.RunSettings.
        recipe: changes to RECIPE.
        rates: learning rates to try on the first language; empty: the rate of the config `rate_of`.
        trial: run on the first language's validation data only, to find out what helps.
    """

    name: str
    options: Mapping[str, Any] = field(hash=False)
    rates: tuple[float, ...] = ()
    rate_of: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict, hash=False)
    trial: bool = False


@dataclass(frozen=True)
class Run:
    """One training, scored on its validation data."""

    config: Config
    corpus: str  # "fillets-nl", or one actor's "fillets-nl-big"
    rate: float
    seed: int

    @property
    def key(self) -> str:
        """Identifies its result."""
        return f"train/{self.corpus}/{self.config.name}/lr{self.rate:g}/seed{self.seed}"

    @property
    def language(self) -> Language:
        """The corpus's language."""
        return "cs" if "-cs" in self.corpus else "nl"


@dataclass(frozen=True)
class Scored:
    """A run, or the base where there is none, scored on a test set."""

    run: Run | None
    corpus: str
    first: int | None = None  # utterances from the start; None: all
    split: Literal["test", "valid"] = "test"

    @property
    def key(self) -> str:
        """Identifies its result."""
        first = "" if self.first is None else f":{self.first}"
        split = "" if self.split == "test" else f"@{self.split}"
        return f"score/{self.run.key if self.run else 'base'}/{self.corpus}{first}{split}"


Task = Run | Scored
Results = Mapping[str, Mapping[str, Any]]  # by key


def next_tasks(configs: tuple[Config, ...], done: Results) -> list[Task]:
    """Return the tasks that can run now and are not done, the most telling first; empty if all is done."""
    return list(dict.fromkeys(task for task in _tasks(configs, done) if task.key not in done))


def chosen_rate(config: Config, configs: tuple[Config, ...], done: Results) -> float | None:
    """Return a config's rate: the tried one with the lowest WER, or None as long as one is missing."""
    if config.rate_of is not None:
        other = next(each for each in configs if each.name == config.rate_of)
        return chosen_rate(other, configs, done)
    keys = {rate: Run(config, corpus(FIRST), rate, SEEDS[0]).key for rate in config.rates}
    if any(key not in done for key in keys.values()):
        return None
    return min(keys, key=lambda rate: done[keys[rate]]["wer"])


def finished(run: Run, done: Results) -> bool:
    """Return whether a run has ended and not diverged."""
    return run.key in done and "failed" not in done[run.key]


def corpus(language: Language) -> str:
    """Return the name of a language's corpus."""
    return f"fillets-{language}"


def other(language: Language) -> Language:
    """Return the language of the study that this one is not."""
    return "cs" if language == "nl" else "nl"


def actors(language: Language) -> tuple[str, str]:
    """Return the names of the corpora of the two actors with the most lines."""
    return f"{corpus(language)}-small", f"{corpus(language)}-big"


def scores_of(run: Run, language: Language) -> list[Scored]:
    """Return the test sets of a run: its own, and for one seed what the run may have forgotten."""
    scores = [Scored(run, corpus(language))]
    if run.seed == SEEDS[0]:
        scores += [Scored(run, "asterisk"), Scored(run, corpus(other(language)), FORGETTING_UTTERANCES)]
    return scores


def _tasks(configs: tuple[Config, ...], done: Results) -> Iterator[Task]:
    """Yield all tasks whose choices are made, in order."""
    rated = [config for config in configs if config.rates]
    for turn in range(max(len(config.rates) for config in rated)):
        for config in rated:  # in turns: a study that is cut short has tried every method
            for tried in config.rates[turn : turn + 1]:
                yield Run(config, corpus(FIRST), tried, SEEDS[0])
    yield Scored(None, corpus(FIRST), split="valid")
    for language in LANGUAGES:
        yield Scored(None, corpus(language))
    yield Scored(None, "asterisk")
    chosen = [
        (config, rate) for config in configs if (rate := chosen_rate(config, configs, done)) is not None
    ]
    compared = [(config, rate) for config, rate in chosen if not config.trial]
    turns = [(seed, language) for seed in SEEDS for language in LANGUAGES]
    for seed, language in turns[:-1]:
        yield from _compared(compared, language, seed, done)
    for config, rate in chosen[:1]:
        yield from _between_actors(config, rate, done)
    for config, rate in chosen:
        if config.trial:
            yield Run(config, corpus(FIRST), rate, SEEDS[0])
    yield from _compared(compared, turns[-1][1], turns[-1][0], done)


def _compared(
    chosen: Sequence[tuple[Config, float]], language: Language, seed: int, done: Results
) -> Iterator[Task]:
    """Yield the runs at the chosen rates, each followed by its scores."""
    for config, rate in chosen:
        run = Run(config, corpus(language), rate, seed)
        yield run
        if finished(run, done):
            yield from scores_of(run, language)


def _between_actors(config: Config, rate: float, done: Results) -> Iterator[Task]:
    """Yield an adapter of each actor, and its scores on both."""
    for actor in actors(FIRST):
        run = Run(config, actor, rate, SEEDS[0])
        yield run
        if finished(run, done):
            yield from (Scored(run, heard) for heard in actors(FIRST))
