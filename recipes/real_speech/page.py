"""Page of the study: docs/results/real.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from recipes.real_speech import figures
from recipes.real_speech.configs import CONFIGS, LORA, SSVD
from recipes.real_speech.study import (
    AGAIN,
    FIRST,
    FORGETTING_UTTERANCES,
    LANGUAGES,
    LOOPING,
    RECIPE,
    SEEDS,
    STEPS,
    Config,
    Language,
    Results,
    Run,
    Scored,
    actors,
    chosen_rate,
    corpus,
    other,
)
from training.bench.bootstrap import difference

NAMES: Mapping[Language, str] = {"nl": "Dutch", "cs": "Czech"}
HEAD = f"""# Real people

Written by `python -m recipes.real_speech` from real.jsonl, which has the errors of every utterance. The base
is openai/whisper-base (72.6 million numbers). Data: the recipes [fillets](../../recipes/fillets/README.md)
(actors' dialogues of a game, split by level) and [asterisk](../../recipes/asterisk/README.md) (telephone
prompts in English, to measure forgetting).

Every run trains {STEPS} steps on the same batches of {RECIPE["batch_audio_s"]:g} s of padded audio, in
bfloat16 autocast on {{device}}, and takes the weights after the last step. WER and CER in %, by the
search that serving uses, in windows of 30 s. Intervals are 95 %, drawn over levels. A learning rate is chosen
for each method on {NAMES[FIRST]} validation data; test data have been looked at for the chosen rates only.
"""
Row = Sequence[object]


def write_page(done: Results, path: Path) -> Path:
    """Write the page of these results and return its path."""
    parts = (
        _zero_shot,
        _rates,
        *_compared_parts(),
        _pairs,
        _loops,
        _trials,
        _again,
        _paces,
        _actors,
        _served,
    )
    sections = ["\n".join(lines) for part in parts if (lines := list(part(done)))]
    devices = sorted({each["device"] for each in done.values() if "device" in each})
    head = HEAD.format(device=" and ".join(devices) or "one processor core")
    text = "\n\n".join([head.rstrip(), *sections])
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
    return path


def _compared_parts() -> list[Callable[[Results], Iterator[str]]]:
    return [lambda done, language=language: _compared(done, language) for language in LANGUAGES]  # type: ignore[misc]


def _zero_shot(done: Results) -> Iterator[str]:
    found = [(name, done.get(Scored(None, name).key)) for name in (*map(corpus, LANGUAGES), "asterisk")]
    rows = [(name, len(each["ids"]), figures.wer(each), figures.cer(each)) for name, each in found if each]
    yield from _section("The base alone", ("test set", "utterances", "WER", "CER"), rows)


def _rates(done: Results) -> Iterator[str]:
    base = done.get(Scored(None, corpus(FIRST), split="valid").key)
    rows: list[Row] = [("the base", "", figures.with_interval(base), figures.cer(base), "")] if base else []
    for config in (config for config in CONFIGS if not config.trial):
        best = chosen_rate(config, CONFIGS, done) if config.rates else None
        for rate in sorted(config.rates):
            if each := done.get(Run(config, corpus(FIRST), rate, SEEDS[0]).key):
                mark = " (chosen)" if rate == best else ""
                failed = each.get("failed")
                wer = failed or figures.with_interval(each)
                rows.append((config.name, f"{rate:g}{mark}", wer, figures.cer(each), figures.loss(each)))
    heads = ("method", "learning rate", "WER", "CER", "loss an utterance")
    yield from _section(f"Learning rates, {NAMES[FIRST]} validation data", heads, rows)


def _compared(done: Results, language: Language) -> Iterator[str]:
    forgotten = other(language)
    base = figures.first(done.get(Scored(None, corpus(forgotten)).key))
    before = done.get(Scored(None, corpus(language)).key)
    english = done.get(Scored(None, "asterisk").key)
    rows: list[Row] = []
    if before:
        rows.append(
            ("the base", "", "", "", *figures.heard(before), figures.both(base), figures.both(english))
        )
    for config, run in _chosen_runs(done, corpus(language)):
        train, test = done.get(run.key), done.get(Scored(run, corpus(language)).key)
        if train and test:
            size = f"{train['parameters']:,}", f"{train['bytes'] / 1e6:.1f}"
            forgot = Scored(run, corpus(forgotten), FORGETTING_UTTERANCES), Scored(run, "asterisk")
            lost = [figures.both(done.get(each.key)) for each in forgot]
            rows.append((config.name, run.seed, *size, *figures.heard(test), *lost))
    heads = (
        "method", "seed", "numbers", "MB", "WER", "capped", "CER", "small", "big", NAMES[forgotten], "English"
    )  # fmt: skip
    yield from _section(f"{NAMES[language]} test data", heads, rows)
    if rows:
        yield ""
        yield "`capped`: WER in which no utterance counts as more than all wrong. It leaves out decoders that"
        yield "repeat themselves. `small`, `big`: the two actors with the most lines. What was forgotten,"
        yield "with the capped WER in brackets: English (asterisk), and the first"
        yield f"{FORGETTING_UTTERANCES} utterances in {NAMES[forgotten]}."


def _pairs(done: Results) -> Iterator[str]:
    """Differences between SSVD and LoRA, utterance by utterance and drawn over levels."""
    by_name = {config.name: config for config in CONFIGS}
    rows = []
    for language in LANGUAGES:
        for seed in SEEDS:
            found = [
                done.get(Scored(Run(by_name[name], corpus(language), rate, seed), corpus(language)).key)
                for name in (SSVD, LORA)
                if (rate := chosen_rate(by_name[name], CONFIGS, done)) is not None
            ]
            if len(found) == 2 and found[0] and found[1]:
                ours, words = figures.by_level(found[0])
                theirs, _ = figures.by_level(found[1])
                low, high = difference(ours, theirs, words)
                gap = 100 * (found[0]["wer"] - found[1]["wer"])
                capped = 100 * (figures.capped_rate(found[0]) - figures.capped_rate(found[1]))
                between = f"{100 * low:+.1f} to {100 * high:+.1f}"
                rows.append((NAMES[language], seed, f"{gap:+.1f}", between, f"{capped:+.1f}"))
    heads = ("language", "seed", "difference", "interval", "capped")
    yield from _section(f"{SSVD} less {LORA}, WER", heads, rows)


def _loops(done: Results) -> Iterator[str]:
    """Scores by the search that told loops, and by the one that ends them."""
    rows = []
    for key, each in done.items():
        if key.endswith(LOOPING):
            now = done.get(key.removesuffix(LOOPING))
            if now is None:
                continue
            pairs = zip(each["errors"], now["errors"], strict=True)
            changed = sum(before != after for before, after in pairs)
            name = key.removeprefix("score/").removeprefix("train/").removesuffix(LOOPING)
            rows.append(
                (name, figures.both(each), figures.cer(each), figures.both(now), figures.cer(now), changed)
            )
    heads = ("score", "WER before", "CER before", "WER", "CER", "utterances with other errors")
    yield from _section("What the search that ends loops changes", heads, rows)
    if rows:
        yield ""
        yield "Capped WER in brackets. These, the second Czech seed and Cayley at 10x are by this search. All"
        yield "else is by the one before, which told a decoder that repeated itself as it was."


def _trials(done: Results) -> Iterator[str]:
    rows = []
    for config in (config for config in CONFIGS if config.trial or config.name in (SSVD, LORA)):
        rate = chosen_rate(config, CONFIGS, done)
        each = done.get(Run(config, corpus(FIRST), rate, SEEDS[0]).key) if rate else None
        if each:
            numbers = f"{each['parameters']:,}"
            rows.append(
                (config.name, f"{rate:g}", numbers, figures.wer(each), figures.cer(each), figures.loss(each))
            )
    heads = ("variant", "learning rate", "numbers", "WER", "CER", "loss an utterance")
    yield from _section(f"What helps SSVD, {NAMES[FIRST]} validation data", heads, rows)


def _again(done: Results) -> Iterator[str]:
    """Runs whose weights were gone: what differs is chance, of rounding where the code has changed."""
    rows = [
        (
            key.removeprefix("train/").removesuffix(AGAIN),
            figures.wer(done[key.removesuffix(AGAIN)]),
            figures.wer(each),
        )
        for key, each in done.items()
        if key.endswith(AGAIN)
    ]
    yield from _section("Trained anew, validation data", ("run", "WER", "WER again"), rows)


def _paces(done: Results) -> Iterator[str]:
    """The speed of training, of runs beside each other: those of the first language with the second seed."""
    found = [
        (config.name, done[run.key]["audio_s_per_s"])
        for config, run in _chosen_runs(done, corpus(FIRST))
        if run.seed == SEEDS[1] and "audio_s_per_s" in done.get(run.key, {})
    ]
    title = f"Seconds of speech that a second of training takes in, {NAMES[FIRST]}, two runs at a time"
    yield from _section(title, ("method", "median of the steps"), found)


def _actors(done: Results) -> Iterator[str]:
    config = CONFIGS[0]
    rate = chosen_rate(config, CONFIGS, done)
    rows = []
    for actor in actors(FIRST) if rate else ():
        scores = [
            done.get(Scored(Run(config, actor, rate or 0.0, SEEDS[0]), heard).key) for heard in actors(FIRST)
        ]
        if all(scores):
            rows.append((actor, *(figures.wer(each) for each in scores)))
    yield from _section(
        f"{config.name} trained on one actor, WER on both", ("trained on", *actors(FIRST)), rows
    )


def _served(done: Results) -> Iterator[str]:
    rows = []
    factors = set()
    for key, each in done.items():
        if key.startswith("served/"):
            _, name, domain = key.split("/")
            rows.append((name, domain, each["utterances"], figures.wer(each), figures.cer(each)))
            factors.add(f"{each['real_time_factor']:.2f}")
    title = f"{CONFIGS[0].name} of both languages and the base in one running server"
    yield from _section(title, ("clips", "domain", "utterances", "WER", "CER"), rows)
    if rows:
        yield ""
        yield f"All at once, in mixed batches; real-time factor {', '.join(sorted(factors))}."


def _chosen_runs(done: Results, name: str) -> Iterator[tuple[Config, Run]]:
    for config in CONFIGS:
        rate = None if config.trial else chosen_rate(config, CONFIGS, done)
        for seed in SEEDS if rate is not None else ():
            yield config, Run(config, name, rate or 0.0, seed)


def _section(title: str, heads: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a titled table; nothing if it has no rows."""
    if not rows:
        return
    yield f"## {title}"
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"
