"""Results of owsm-nano and its domains on the full test sets: docs/results/nano.json and nano.md.

python -m recipes.espeak.rebuild --only results
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from adapters_store.packaged import PACKAGED, builtins
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.adapter.read import load_adapter
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.basis.cache import factorize
from ssvd_asr.decoding.options import GREEDY
from training.evaluate import Evaluation, evaluate
from training.methods.finish import put_weights

RESULTS = Path("docs/results")
COMMAND = "python -m recipes.espeak.rebuild --only results"
GAP_TARGET = 0.85


def loops(evaluation: Evaluation) -> int:
    """Count hypotheses that loop: at least ten words more than twice the reference."""
    return sum(
        len(one.hypothesis.split()) >= 2 * len(one.reference.split()) + 10 for one in evaluation.decoded
    )


def figures(base: BaseModel, source: Path, **selected: Any) -> dict[str, Any]:
    """Decode by the default search and greedily; return the first one's figures and both WERs, as ratios."""
    checked = evaluate(base, source, **selected)
    greedy = evaluate(base, source, options=GREEDY, **selected)
    return {
        **checked.as_json(),
        "loops": loops(checked),
        "greedy_wer": greedy.score.wer,
        "greedy_loops": loops(greedy),
    }


def measure_domain(
    base: BaseModel, adapted: AdaptedModel, factors: Any, domain: str, data: Path, runs: Path
) -> dict[str, Any]:
    """Measure base, adapter and full fine-tuning on the domain, and the adapter on adult speech."""
    test = data / f"{domain}-test" / "manifest.jsonl"
    version = builtins(PACKAGED)[domain]
    loaded = load_adapter(version.path, base, factors)
    cores = loaded.adapter.cores(base.dtype)
    adapter = {"adapted": adapted, "cores": cores}
    row: dict[str, Any] = {
        "base": figures(base, test),
        "adapter": figures(base, test, **adapter),
        "adapter_on_adult": figures(base, data / "adult-test" / "manifest.jsonl", **adapter),
        "adapter_scale": version.metadata.training["scale"],
        "adapter_sha256": version.sha256,
        "adapter_bytes": version.size_bytes,
        "adapter_parameters": loaded.adapter.parameter_count(),
    }
    tuned = load_base()
    put_weights(tuned, runs / f"{domain}-full" / "weights.safetensors")
    row["full"] = figures(tuned, test)
    before, after, full = (row[name]["wer"] for name in ("base", "adapter", "full"))
    row["gap_closed"] = (before - after) / (before - full)
    row["parameter_share"] = row["adapter_parameters"] / sum(p.numel() for p in base.network.parameters())
    return row


def write(data: Path, runs: Path) -> None:
    """Measure everything and write nano.json and nano.md."""
    base = load_base()
    factors = factorize(base)
    adult = figures(base, data / "adult-test" / "manifest.jsonl")
    adapted = adapt(base.network, factors)
    again = figures(base, data / "adult-test" / "manifest.jsonl", adapted=adapted)
    found = {
        "command": COMMAND,
        "device": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "base": base.name,
        "base_digest": base.digest,
        "parameters": sum(p.numel() for p in base.network.parameters()),
        "adult": adult,
        "adult_with_adapters_loaded": again,
        "domains": {
            domain: measure_domain(base, adapted, factors, domain, data, runs)
            for domain in builtins(PACKAGED)
        },
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "nano.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "nano.md").write_text(table(found), encoding="utf-8")


def table(found: dict[str, Any]) -> str:
    """Return the Markdown page of ``found``. Every figure in it comes from there."""
    adult = found["adult"]
    lines = [
        "# owsm-nano and its domains",
        "",
        f"Written by `{found['command']}` with nano.json ({found['device']}, torch {found['torch']}).",
        "WER of normalised texts by the default search, in the padded 15 s window; in brackets: greedy.",
        "No training set has a voice or a sentence of the test sets. The raw WER is in the JSON file.",
        "",
        f"- base `{found['base']}`, {found['parameters'] / 1e6:.2f} M parameters, `{found['base_digest']}`",
        f"- adult test set: WER {_rate(adult, 2)}, {adult['utterances']} utterances, {adult['loops']} loop",
        "- the same with the adapted layers in place and no domain asked for: "
        f"{_rate(found['adult_with_adapters_loaded'], 2)}",
        "",
        "| domain | utterances | base | SSVD adapter | full fine-tuning | gap closed | parameters | file | "
        "scale | the adapter on adult speech |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for domain, row in found["domains"].items():
        lines.append(
            f"| {domain} | {row['base']['utterances']} | {_rate(row['base'])} | "
            f"{_rate(row['adapter'])} | {_rate(row['full'])} | {row['gap_closed']:.0%} | "
            f"{row['adapter_parameters']} ({row['parameter_share']:.1%}) | "
            f"{row['adapter_bytes'] / 1e6:.2f} MB | {row['adapter_scale']:g} | "
            f"{_rate(row['adapter_on_adult'])} |"
        )
    lines += [
        "",
        "The last column is why a domain is chosen for each request: an adapter is for its domain only.",
    ]
    return "\n".join(lines) + "\n"


def _rate(row: Mapping[str, Any], digits: int = 1) -> str:
    return f"{row['wer']:.{digits}%} ({row['greedy_wer']:.{digits}%})"
