"""Blends and ensembles of the packaged domains on voices that neither was trained for.

"Scottish child" is the child domain's voices in the accent of the scottish domain. The weights of the blends
are fitted on its validation voices; everything is then measured on test voices of four kinds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from adapters_store.packaged import PACKAGED, builtins
from recipes.espeak.ensemble import transcribe_together
from recipes.espeak.speak import ACCENTS, utterance, write_utterance
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.blend import blend_adapters
from ssvd_asr.adapter.read import LoadedAdapter, load_adapter
from ssvd_asr.audio.read import AudioLimits
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factorize
from ssvd_asr.manifests.audio import read_utterance
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.scoring import score
from training.blend_fit import fit_weights
from training.evaluate import EVALUATION_BATCH, evaluate

NAME = "any-voice-blends"
DOMAINS = ("child", "scottish")
NEW = "scottish child"
KINDS = ("adult", *DOMAINS, NEW)
TEST_UTTERANCES, VALID_UTTERANCES = 80, 40  # of each kind
COSTED_UTTERANCES = 16
ENSEMBLES = (DOMAINS, ("base", *DOMAINS), ("best blend", *DOMAINS))

Row = dict[str, Any]


def scottish_child(split: str, count: int, folder: Path) -> Path:
    """Speak the child domain's first utterances of a split in a Scottish accent; return the manifest."""
    path = folder / "manifest.jsonl"
    if path.exists():
        return path
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, object]] = []
    index = 0
    while len(lines) < count:
        text, speaker = utterance("child", split, index)
        scottish = replace(speaker, accent=ACCENTS["scottish"][0])
        entry = write_utterance(folder, f"scottish-child-{split}-{index:06d}", text, "child", scottish)
        if entry is not None:
            lines.append(entry)
        index += 1
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


class Bench:
    """The base, its two domains, and the data of each kind."""

    def __init__(self, data: Path, adapters: dict[str, Path]) -> None:
        """`adapters`: the files to measure, by domain."""
        self.base: BaseModel = load_base()
        self.factors = factorize(self.base)
        self.adapted: AdaptedModel = adapt(self.base.network, self.factors)
        self.loaded: dict[str, LoadedAdapter] = {
            name: load_adapter(path, self.base, self.factors) for name, path in adapters.items()
        }
        self.valid = scottish_child("valid", VALID_UTTERANCES, data / "scottish-child-valid")
        self.tests = {kind: data / f"{kind}-test" / "manifest.jsonl" for kind in KINDS}
        self.tests[NEW] = scottish_child("test", TEST_UTTERANCES, data / "scottish-child-test")

    def cores(self, weights: dict[str, float]) -> dict[str, torch.Tensor] | None:
        """Return the cores of a blend, given as weights by domain; None without any is the base."""
        parts = [(name, weight) for name, weight in weights.items() if weight]
        if not parts:
            return None
        names = [name for name, _ in parts]
        blended = blend_adapters(
            [self.loaded[name].adapter for name in names],
            [weight for _, weight in parts],
            names,
            torch.float16,
        )
        with torch.no_grad():
            return blended.cores(self.base.dtype)

    def alone(self, weights: dict[str, float], source: Path, first: int) -> Row:
        """Measure one domain, blend or the base, by the default search."""
        cores = self.cores(weights)
        found = evaluate(self.base, source, adapted=self.adapted, cores=cores, first=first, progress=False)
        return {"wer": found.score.wer}

    def together(self, domains: Sequence[dict[str, float]], source: Path, first: int) -> Row:
        """Measure an ensemble of domains, blends or the base."""
        cores = [self.cores(weights) for weights in domains]
        stack = CoreStack(
            self.adapted.layers,
            len(cores) + 1,
            {name: core.size(-1) for each in cores if each for name, core in each.items()},
        )
        slots: list[int] = []
        for each in cores:
            slots.append(0 if each is None else len(slots) + 1)
            if each is not None:
                stack.write(slots[-1], each)

        def opened(rows: int) -> AbstractContextManager[object]:
            return self.adapted.mixing(stack, [slot for slot in slots for _ in range(rows)])

        references: list[str] = []
        hypotheses: list[str] = []
        for clips in _batches(source, first, self.base.window.duration_s):
            waves = [wave for _, wave in clips]
            hypotheses += transcribe_together(self.base, waves, opened, len(slots))
            references += [text for text, _ in clips]
        return {"wer": score(references, hypotheses).wer}


def _batches(source: Path, first: int, window_s: float) -> Iterator[list[tuple[str, Any]]]:
    limits = AudioLimits(max_duration_s=window_s, max_bytes=2**30)
    entries = [each for each in read_entries(source)[:first] if isinstance(each, Utterance)]
    entries.sort(key=lambda each: -len(each.text))
    for start in range(0, len(entries), EVALUATION_BATCH):
        yield [
            (each.text, read_utterance(each, limits)) for each in entries[start : start + EVALUATION_BATCH]
        ]


class Results:
    """Rows in a JSON file, each measured once for the same adapters."""

    def __init__(self, path: Path, of: dict[str, Any]) -> None:
        """`of` identifies what was measured. A file of something else is begun anew."""
        self.path = path
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.found: dict[str, Any] = known if known.get("of") == of else {"of": of, "rows": {}}

    def row(self, key: str, measure: Callable[[], Any]) -> Any:
        """Return a row from the file, or measure it and write it."""
        if key not in self.found["rows"]:
            self.found["rows"][key] = measure()
            self.save()
            print(f"{key}: {self.found['rows'][key]}", flush=True)
        return self.found["rows"][key]

    def save(self) -> None:
        """Write the file."""
        self.path.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")


def measure(data: Path, results: Path, adapters: dict[str, Path] | None = None) -> dict[str, Any]:
    """Measure what the file lacks, and return all of it. `adapters` are the packaged ones by default."""
    files = adapters or {name: builtins(PACKAGED)[name].path for name in DOMAINS}
    bench = Bench(data, files)
    of = {
        "base_digest": bench.base.digest,
        "adapters": {name: loaded.sha256 for name, loaded in bench.loaded.items()},
        "test_utterances": TEST_UTTERANCES,
        "valid_utterances": VALID_UTTERANCES,
    }
    kept = Results(results / f"{NAME}.json", of)

    def valid(weights: dict[str, float]) -> float:
        key = f"valid | {_told(weights)}"
        row: Row = kept.row(key, lambda: bench.alone(weights, bench.valid, VALID_UTTERANCES))
        return float(row["wer"])

    fit = fit_weights(lambda each: valid(dict(zip(DOMAINS, each, strict=True))), len(DOMAINS), print)
    best = dict(zip(DOMAINS, fit.weights, strict=True))
    kept.found["best"] = best
    single = {name: {name: 1.0} for name in DOMAINS}
    systems: dict[str, dict[str, float]] = {
        "base": {}, **single, "both whole": dict.fromkeys(DOMAINS, 1.0), "best blend": best
    }  # fmt: skip

    def alone(name: str, kind: str, first: int = TEST_UTTERANCES) -> Row:
        return bench.alone(systems[name], bench.tests[kind], first)

    def together(members: Sequence[str], first: int = TEST_UTTERANCES) -> Row:
        return bench.together([systems[name] for name in members], bench.tests[NEW], first)

    for kind in (NEW, *KINDS[:-1]):
        for name in systems:
            kept.row(f"test | {name} | {kind}", partial(alone, name, kind))
    for members in ENSEMBLES:
        kept.row(f"test | {_ensemble(members)} | {NEW}", partial(together, members))
    for name in systems:
        kept.row(f"cost | {name}", partial(_cpu_s, partial(alone, name, NEW, COSTED_UTTERANCES)))
    for members in ENSEMBLES:
        kept.row(
            f"cost | {_ensemble(members)}", partial(_cpu_s, partial(together, members, COSTED_UTTERANCES))
        )
    kept.save()
    return kept.found


def _cpu_s(work: Callable[[], object]) -> float:
    """Return the processor time of some work, in seconds: the machine may do other things too."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _ensemble(members: Sequence[str]) -> str:
    return f"together: {', '.join(members)}"


def _told(weights: dict[str, float]) -> str:
    return "+".join(f"{name}*{weight:g}" for name, weight in weights.items() if weight) or "base"


def section(found: dict[str, Any]) -> list[str]:
    """Return the page's section. Every figure in it comes from the results."""
    of, rows = found["of"], found["rows"]
    names = list(dict.fromkeys(key.split(" | ")[1] for key in rows if key.startswith("test | ")))
    lines = [
        "## Blends and ensembles",
        "",
        f"WER in %, {of['test_utterances']} test utterances of each kind, default search. "
        "\"Scottish child\" is the child domain's voices in en-gb-scotland; no adapter was trained on them. "
        f"The best blend is `{_told(found['best'])}`: its weights have the lowest WER on "
        f"{of['valid_utterances']} utterances of other voices and sentences of that kind. "
        "\"Together\" is an ensemble: rows of one utterance under several domains average their "
        "log-probabilities of the next token, and of CTC. Cost is the processor time "
        f"of {COSTED_UTTERANCES} utterances of scottish child over that of the best blend.",
        "",
        f"| | {' | '.join(KINDS)} | cost |",
        "|---|" + "---|" * (len(KINDS) + 1),
    ]  # fmt: skip
    unit = rows["cost | best blend"]
    for name in names:
        cells = [rows.get(f"test | {name} | {kind}") for kind in KINDS]
        rates = [f"{100 * each['wer']:.1f}" if each else "-" for each in cells]
        cost = f"{rows[f'cost | {name}'] / unit:.1f}x"
        lines.append(f"| {name} | {' | '.join(rates)} | {cost} |")
    lines += ["", "Weights tried on the validation voices:", "", "| blend | WER % |", "|---|---|"]
    tried = {key.split(" | ")[1]: row["wer"] for key, row in rows.items() if key.startswith("valid | ")}
    lines += [
        f"| `{name}` | {100 * wer:.1f} |" for name, wer in sorted(tried.items(), key=lambda each: each[1])
    ]
    return [*lines, ""]
