"""The study of the embedded benchmark: its runs and their order.

All methods train for the same number of steps on the same utterances, in the same order for one seed. They
choose the learning rate by the same rule (stage `lr`). The rule starts at FIRST_RATE and tries neighbours
until none of the REACH rates on either side of the best is better. It compares token accuracy on validation
data of LR_DOMAIN. With a REACH of 2, a single dip does not end the search. A method whose numbers may need
two rates tries the whole grid (`Config.whole_grid`).

The runs of stage `final` use the chosen rate. A config of several seeds that chooses its own rate also runs
once at the rates on either side, to show the effect of the choice. Runs of stage `checked` are those of the
configs that users choose among, scored by the search that the server uses by default; `final` ones are scored
greedily. Stage `cost` measures a few steps while nothing else runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

# Of runs; results also have the stages `voices` and `basis`.
Stage = Literal["base", "lr", "final", "checked", "cost"]

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
FIRST_RATE = 2  # index in LEARNING_RATES where every method begins
BASE_STAGES: tuple[Stage, Stage] = ("base", "checked")
STAGES: tuple[Stage, Stage] = ("final", "checked")  # of whole runs, and the search that scores them
REACH = 2  # rates on either side that must be tried
DOMAINS = ("child", "scottish")
LR_DOMAIN = DOMAINS[0]
SEEDS = (1, 2, 3)
ADULT = "adult"  # the base's training domain, to measure forgetting
UNSEEN = "unseen words"  # the first domain's voices with words in no run's training data
TEST_CORPORA = {**{name: f"{name}-test" for name in (*DOMAINS, ADULT)}, UNSEEN: f"{DOMAINS[0]}-unseen"}
TESTS = {DOMAINS[0]: tuple(TEST_CORPORA), DOMAINS[1]: (DOMAINS[1], ADULT)}  # for runs of the first seed


@dataclass(frozen=True)
class Budget:
    """Amounts of data and training, equal for all runs of a study."""

    train_utterances: int = 500
    valid_utterances: int = 100
    test_utterances: int = 240
    rounds: int = 8  # each ended by a validation
    lr_rounds: int = 4  # of a run that only chooses a learning rate
    batches_a_round: int = 30


@dataclass(frozen=True)
class Config:
    """A method at one size. options: fields of training.run_settings.RunSettings."""

    name: str
    group: str  # configs joined by a line in the figures
    options: Mapping[str, Any] = field(hash=False)
    rate_of: str | None = None  # the config whose learning rate it takes; None: chooses its own
    seeds: int = 1
    whole_grid: bool = False  # try all learning rates, since there may be several local optima
    checked: bool = False  # score its runs by the server's default search too


BASE = Config("base", "base", {}, checked=True)


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
        """Identifies a result, together with `study_id`."""
        return f"{self.stage}/{self.config.name}/{self.domain}/lr{self.lr:g}/seed{self.seed}"


def study_id(budget: Budget, base_digest: str, data: Mapping[str, str], device: str = "cpu") -> str:
    """Return the id of a study: a digest of budget, base, corpora (digests by name) and kind of device."""
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
    """Return the tasks that can run now and are not in `results`; empty if all is done.

    Call it again when these are done. First come the runs of the first seed in the order of `configs`, then
    their costs, further seeds, and last the rates beside the chosen ones. A study that is cut short thus has
    every method once. choosers: where `rate_of` is looked up; default: `configs`.
    """
    by_name = {config.name: config for config in choosers or configs}
    done = _by_key(results, by_name)
    tasks = [
        task
        for stage in BASE_STAGES
        for domain in DOMAINS
        if (task := Task(stage, BASE, domain, 0.0, SEEDS[0])).key not in done
    ]
    beside: list[Task] = []
    for config in configs:
        rate, missing = choose_rate(by_name[config.rate_of or config.name], done)
        tasks += [task for task in missing if task.key not in {each.key for each in tasks}]
        if rate is not None:
            tasks += [
                task
                for stage in STAGES[: 1 + config.checked]
                for seed in SEEDS[: config.seeds]
                for domain in DOMAINS
                if (task := Task(stage, config, domain, rate, seed)).key not in done
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
    """Return the results of these configs, each once and with its config's present group.

    Leaves out results of removed configs, and final results at rates that are not chosen now.
    """
    by_name = {config.name: config for config in configs}
    done = _by_key(results, by_name)
    rates = {name: choose_rate(by_name[each.rate_of or name], done)[0] for name, each in by_name.items()}

    def wanted(result: Mapping[str, Any]) -> bool:
        if "config" not in result:
            return True  # a result of the base or the corpora
        name = result["config"]
        return name in rates and (result["stage"] not in STAGES or result["lr"] == rates[name])

    return [
        {**result, "group": by_name[result["config"]].group} if "config" in result else result
        for result in done.values()
        if wanted(result)
    ]


def _by_key(
    results: Iterable[Mapping[str, Any]], configs: Mapping[str, Config]
) -> dict[str, Mapping[str, Any]]:
    """Return the last result of each key, without those of a config whose options have changed."""
    return {
        str(result["key"]): result
        for result in results
        if (config := configs.get(result.get("config", ""))) is None
        or result["options"] == dict(config.options)
    }


def at_edge(rate: float) -> bool:
    """Return whether the grid ends at this rate, so that a better one may lie beyond."""
    return rate in (LEARNING_RATES[0], LEARNING_RATES[-1])


def rates_beside(rate: float) -> list[float]:
    """Return the next lower and the next higher rate of the grid."""
    place = LEARNING_RATES.index(rate)
    return [LEARNING_RATES[each] for each in (place - 1, place + 1) if 0 <= each < len(LEARNING_RATES)]


def choose_rate(config: Config, done: Mapping[str, Mapping[str, Any]]) -> tuple[float | None, list[Task]]:
    """Return the learning rate of a config, or None and the runs still needed to choose it."""

    def task(place: int) -> Task:
        return Task("lr", config, LR_DOMAIN, LEARNING_RATES[place], SEEDS[0])

    best = FIRST_RATE
    while True:
        reach = len(LEARNING_RATES) if config.whole_grid else REACH
        around = range(max(best - reach, 0), min(best + reach + 1, len(LEARNING_RATES)))
        missing = [each for place in around if (each := task(place)).key not in done]
        if missing:
            return None, missing
        # A diverged run has no accuracy. Rounding: equal token counts may differ in the eighth digit.
        found = {place: round(done[task(place).key]["valid_accuracy"] or 0.0, 6) for place in around}
        better = max(around, key=lambda place: (found[place], -abs(place - best)))
        if found[better] == found[best]:
            return LEARNING_RATES[best], []
        best = better
