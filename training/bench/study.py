"""The embedded benchmark of methods: which runs it has, and in which order they are decided.

Fair to every method means here: the same utterances in the same order for one seed, the same number of steps,
and a learning rate chosen by the same rule. The rule: beginning near the middle of LEARNING_RATES, neighbours
are tried until none of the REACH rates on either side of the best is better (token accuracy on validation
data, stage `lr`, the domain LR_DOMAIN): a single dip ends no search. Of a method whose numbers may want two
rates, the whole grid is tried (`Config.whole_grid`). The runs of stage `final` then have that
rate; those of several seeds also run once at the rates on either side, to show how much hangs on the choice.
Stage `cost` measures a few steps, with nothing beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Stage = Literal["base", "lr", "final", "cost"]  # of runs; results say too who speaks, and what basis is held

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
FIRST_RATE = 2  # place in LEARNING_RATES where every method begins
REACH = 2  # places on either side that have to be known
DOMAINS = ("child", "scottish")
LR_DOMAIN = DOMAINS[0]
SEEDS = (1, 2, 3)
ADULT = "adult"  # what the base was trained on: forgetting shows here
UNSEEN = "unseen words"  # the first domain's voices with words that no run's training data have
TEST_CORPORA = {**{name: f"{name}-test" for name in (*DOMAINS, ADULT)}, UNSEEN: f"{DOMAINS[0]}-unseen"}
TESTS = {DOMAINS[0]: tuple(TEST_CORPORA), DOMAINS[1]: (DOMAINS[1], ADULT)}  # of a run of the first seed


@dataclass(frozen=True)
class Budget:
    """How much a run sees; equal for all runs of a study."""

    train_utterances: int = 500
    valid_utterances: int = 100
    test_utterances: int = 240
    rounds: int = 8  # each ended by a validation
    lr_rounds: int = 4  # of a run that only chooses a learning rate
    batches_a_round: int = 30


@dataclass(frozen=True)
class Config:
    """A method at one size. options: fields of training.loop.run.RunSettings."""

    name: str
    group: str  # what a line of the figures joins
    options: Mapping[str, Any] = field(hash=False)
    rate_of: str | None = None  # the config whose learning rate it takes; None: tried itself
    seeds: int = 1
    whole_grid: bool = False  # of learning rates: the best of one neighbourhood may not be the best


BASE = Config("base", "base", {})


@dataclass(frozen=True)
class Task:
    """One run."""

    stage: Stage
    config: Config
    domain: str
    lr: float
    seed: int

    @property
    def key(self) -> str:
        """What a result is recognised by, together with `study_id`."""
        return f"{self.stage}/{self.config.name}/{self.domain}/lr{self.lr:g}/seed{self.seed}"


def study_id(budget: Budget, base_digest: str, data: Mapping[str, str], device: str = "cpu") -> str:
    """Results of another budget, base, corpus (digests by name) or kind of device are not of this study."""
    kind = device.partition(":")[0]
    text = json.dumps(
        [asdict(budget), base_digest, dict(data), *([] if kind == "cpu" else [kind])], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def next_tasks(
    configs: Sequence[Config],
    results: Iterable[Mapping[str, Any]],
    choosers: Sequence[Config] | None = None,
) -> list[Task]:
    """What can be run now and is not in `results`; ask again when these are done. Empty: all is done.

    In the order of `configs`, then what they cost, further seeds, and rates beside the chosen last: a study
    that is cut short has every method once. choosers: where `rate_of` is looked up; default: `configs`.
    """
    by_name = {config.name: config for config in choosers or configs}
    done = _by_key(results, by_name)
    tasks = [
        task for domain in DOMAINS if (task := Task("base", BASE, domain, 0.0, SEEDS[0])).key not in done
    ]
    beside: list[Task] = []
    for config in configs:
        rate, missing = choose_rate(by_name[config.rate_of or config.name], done)
        tasks += [task for task in missing if task.key not in {each.key for each in tasks}]
        if rate is not None:
            tasks += [
                task
                for seed in SEEDS[: config.seeds]
                for domain in DOMAINS
                if (task := Task("final", config, domain, rate, seed)).key not in done
            ]
            beside += [
                task
                for other in (rates_beside(rate) if config.seeds > 1 and config.rate_of is None else ())
                for domain in DOMAINS
                if (task := Task("final", config, domain, other, SEEDS[0])).key not in done
            ]
        cost = Task("cost", config, LR_DOMAIN, LEARNING_RATES[FIRST_RATE], SEEDS[0])
        tasks += [cost] if cost.key not in done else []
    return [*sorted(tasks, key=lambda task: (task.seed, task.stage == "cost")), *beside]


def current(configs: Sequence[Config], results: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The results that these configs ask for, each once and in its config's group of today.

    None of a config that is gone, nor of a rate that is not chosen now.
    """
    by_name = {config.name: config for config in configs}
    done = _by_key(results, by_name)
    rates = {name: choose_rate(by_name[each.rate_of or name], done)[0] for name, each in by_name.items()}

    def wanted(result: Mapping[str, Any]) -> bool:
        if "config" not in result:
            return True  # of the base, or of the corpora
        name = result["config"]
        return name in rates and (result["stage"] != "final" or result["lr"] == rates[name])

    return [
        {**result, "group": by_name[result["config"]].group} if "config" in result else result
        for result in done.values()
        if wanted(result)
    ]


def _by_key(
    results: Iterable[Mapping[str, Any]], configs: Mapping[str, Config]
) -> dict[str, Mapping[str, Any]]:
    """The last result of each key, without those of a config that has other options today."""
    return {
        str(result["key"]): result
        for result in results
        if (config := configs.get(result.get("config", ""))) is None
        or result["options"] == dict(config.options)
    }


def at_edge(rate: float) -> bool:
    """Whether the grid ends at this rate: a better one may lie beyond."""
    return rate in (LEARNING_RATES[0], LEARNING_RATES[-1])


def rates_beside(rate: float) -> list[float]:
    """The next lower and the next higher rate of the grid."""
    place = LEARNING_RATES.index(rate)
    return [LEARNING_RATES[each] for each in (place - 1, place + 1) if 0 <= each < len(LEARNING_RATES)]


def choose_rate(config: Config, done: Mapping[str, Mapping[str, Any]]) -> tuple[float | None, list[Task]]:
    """The learning rate of a config, or None and the runs that are still wanted to choose it."""

    def task(place: int) -> Task:
        return Task("lr", config, LR_DOMAIN, LEARNING_RATES[place], SEEDS[0])

    best = FIRST_RATE
    while True:
        reach = len(LEARNING_RATES) if config.whole_grid else REACH
        around = range(max(best - reach, 0), min(best + reach + 1, len(LEARNING_RATES)))
        missing = [each for place in around if (each := task(place)).key not in done]
        if missing:
            return None, missing
        # A run that diverged has no accuracy. Equally many right tokens may differ in the eighth digit.
        found = {place: round(done[task(place).key]["valid_accuracy"] or 0.0, 6) for place in around}
        better = max(around, key=lambda place: (found[place], -abs(place - best)))
        if found[better] == found[best]:
            return LEARNING_RATES[best], []
        best = better
