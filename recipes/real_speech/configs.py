"""The methods that are compared, and the trials that look for what helps SSVD."""

from __future__ import annotations

from recipes.real_speech.study import SEEDS, STEPS, Config, Run, Scored, Task

SSVD, LORA, FULL = "SSVD p=40%", "LoRA r=15", "full fine-tuning"
LORA_OPTIONS = {"method": "lora", "rank": 15, "embedding": False}
LONGER = dict.fromkeys(("min_batches_per_epoch", "max_batches_per_epoch"), 2 * STEPS)

CONFIGS = (
    Config(SSVD, {"p": 0.4}, (1e-3, 3e-4, 1e-4, 3e-5)),
    # Rank 15 on the same linears: 2.03 million numbers, SSVD's are 2.01.
    Config(LORA, LORA_OPTIONS, (1e-3, 3e-3, 3e-4, 1e-4)),
    Config(FULL, {"method": "full"}, (1e-4, 3e-5)),
    Config("SSVD p=10%", {"p": 0.1}, (1e-3, 3e-4)),
    # Whether SSVD is behind because it is slower.
    Config(f"{SSVD}, twice the steps", {"p": 0.4}, rate_of=SSVD, recipe=LONGER, trial=True),
    Config("LoRA-XS k=144", {"method": "lora-xs", "k": 144}, rate_of=SSVD, trial=True),
    Config(f"{SSVD}, both sides", {"p": 0.4, "sides": "both"}, rate_of=SSVD, trial=True),
    *(
        Config(
            f"{SSVD}, delta_sigma at {multiple}x",
            {"p": 0.4},
            rate_of=SSVD,
            recipe={"delta_sigma_rate": multiple},
            trial=True,
        )
        for multiple in (10, 100)
    ),
    Config(f"{LORA}, twice the steps", LORA_OPTIONS, rate_of=LORA, recipe=LONGER, trial=True),
    Config(f"{SSVD}, cayley", {"p": 0.4, "rotation_map": "cayley"}, rate_of=SSVD, trial=True),
    # It stays a rotation where the first order has long left its range.
    Config(f"{SSVD}, cayley at 10x", {"p": 0.4, "rotation_map": "cayley"}, (1e-3,), trial=True),
    Config("SSVD p=80%", {"p": 0.8}, rate_of=SSVD, trial=True),
    Config(f"{SSVD}, encoder", {"p": 0.4, "scope": "encoder"}, rate_of=SSVD, trial=True),
    Config(f"{SSVD}, decoder", {"p": 0.4, "scope": "decoder"}, rate_of=SSVD, trial=True),
)


def task_of(key: str) -> Task:
    """Return the task of a key. Raises KeyError for one that is not of this study."""
    kind, _, rest = key.partition("/")
    if kind == "train":
        return _run_of(rest)
    of, _, corpus = rest.rpartition("/")
    corpus, _, split = corpus.partition("@")
    name, _, first = corpus.partition(":")
    run = None if of == "base" else _run_of(of.removeprefix("train/"))
    return Scored(run, name, int(first) if first else None, "valid" if split else "test")


def _run_of(rest: str) -> Run:
    corpus, name, rate, seed = rest.split("/")
    config = {config.name: config for config in CONFIGS}[name]
    run = Run(config, corpus, float(rate.removeprefix("lr")), int(seed.removeprefix("seed")))
    assert run.seed in SEEDS
    return run
