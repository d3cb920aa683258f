"""Scores of one run's result on its test sets, as written and at a chosen scale."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.bench.spec import Spec
from training.methods.scale import Scalable, ScalableAdapter, ScalableWeights, choose_scale

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel
    from training.evaluate import Evaluation


def scores(spec: Spec, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the written file on each test set; in stage `checked` at its chosen scale too."""
    change = _change(spec, result)
    found: dict[str, Any] = {"tests": _tests(spec, change, 1.0)}
    if spec.task.stage != "checked":
        return found
    scale = choose_scale(lambda factor: _wer(spec, change, factor), lambda line: print(line, file=sys.stderr))
    return {**found, **scale.as_json(), "scaled_tests": _tests(spec, change, scale.value)}


def _change(spec: Spec, result: Mapping[str, Any]) -> Scalable:
    """Return what a run has written, read back."""
    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.base.load import load_base
    from ssvd_asr.base.weights import read_trained
    from ssvd_asr.basis.cache import factorize

    base = load_base(device=spec.device, dtype="float32")
    if "adapter" in result:
        factors = factorize(base)
        adapter = load_adapter(Path(result["adapter"]), base, factors).adapter.to(base.device)
        return ScalableAdapter(base, adapt(base.network, factors), adapter)
    path = Path(result["weights"])
    weights, _ = read_trained(path, base.digest)
    path.unlink()  # 17 MB per run; the run can make it again
    return ScalableWeights(base, weights)


def base_scores(spec: Spec) -> dict[str, Any]:
    """Return the base's figures on each test set."""
    from ssvd_asr.base.load import load_base

    base = load_base(device=spec.device, dtype="float32")
    return {
        "tests": {name: figures(_decode(spec, base, path), spec.heard) for name, path in spec.tests.items()}
    }


def _tests(spec: Spec, change: Scalable, scale: float) -> dict[str, Any]:
    selected = change.at(scale)
    return {
        name: figures(_decode(spec, change.base, path, **selected), spec.heard)
        for name, path in spec.tests.items()
    }


def _wer(spec: Spec, change: Scalable, scale: float) -> float:
    """Return the WER on the domain's validation data."""
    path = spec.manifests[f"{spec.task.domain}-valid"]
    return _decode(spec, change.base, path, **change.at(scale)).score.wer


def _decode(spec: Spec, base: BaseModel, path: Path, **selected: Any) -> Evaluation:
    """Decode a manifest by the search of the run's stage: greedy, or that of serving and evaluating."""
    from ssvd_asr.decoding.options import CHECKED, GREEDY
    from training.evaluate import evaluate

    options = CHECKED if spec.task.stage == "checked" else GREEDY
    return evaluate(base, path, progress=False, options=options, **selected)


def figures(found: Evaluation, heard: frozenset[str]) -> dict[str, Any]:
    """Return the WER and the errors of each utterance, for intervals and paired comparisons.

    heard: the words of the training data. `unseen_words` counts the other words, recognised and in all.
    """
    from ssvd_asr.scoring import score
    from training.bench.unseen import unseen_recall

    each = [score([one.reference], [one.hypothesis]) for one in found.decoded]
    errors = [one.substitutions + one.deletions + one.insertions for one in each]
    words = [one.reference_words for one in each]
    return {
        "wer": found.score.wer,
        "wer_raw": found.score.wer_raw,
        "insertions": found.score.insertions,  # high if the decoder loops
        "deletions": found.score.deletions,
        "unseen_words": unseen_recall(found.decoded, heard),
        "errors": errors,
        "words": words,
    }
