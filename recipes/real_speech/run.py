"""One task of the study, in its own process: a training with its validation score, or a score on a test set.

python -m recipes.real_speech.run KEY --base BASE --data DATA --work WORK prints the result, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.real_speech.configs import task_of
from recipes.real_speech.study import LANGUAGES, RECIPE, Run, Scored
from ssvd_asr.errors import SsvdError
from ssvd_asr.parser import CommandParser

if TYPE_CHECKING:
    from ssvd_asr.base.model import BaseModel
    from training.evaluate import Evaluation

ENGLISH = "<eng>"
WARM_STEPS = 5  # at the start of a run, not timed


def folder_of(run: Run, work: Path) -> Path:
    """Return the folder of a run."""
    return work / run.key.replace("/", "-").replace(" ", "-")


def trained(run: Run, work: Path) -> bool:
    """Return whether the weights of a run are here."""
    from training.methods.finish import ADAPTER_FILE, WEIGHTS_FILE

    return any((folder_of(run, work) / name).is_file() for name in (ADAPTER_FILE, WEIGHTS_FILE))


def train(run: Run, base: str, data: Path, work: Path, device: str) -> dict[str, Any]:
    """Train, and score on the validation data. A diverged run has `failed` (the reason) and a WER of 1."""
    import torch

    from training.loop.run import Session
    from training.run_settings import RunSettings

    out = folder_of(run, work)
    settings = RunSettings(
        domain=run.corpus,
        data=data / run.corpus / "train.jsonl",
        valid=data / run.corpus / "valid.jsonl",
        out=out,
        base=base,
        language=LANGUAGES[run.language],
        device=device,
        dtype="bfloat16",
        scored=False,  # decoded below, with each utterance's errors
        scale=1.0,
        progress=False,
        resume=(out / "checkpoint.safetensors").exists(),
        **run.config.options,
    )
    changes = {**RECIPE, **run.config.recipe, "lr": run.rate, "seed": run.seed}
    try:
        fitted = Session(settings, changes, lambda line: print(line, file=sys.stderr, flush=True)).fit()
    except SsvdError as error:
        if "not finite" not in str(error):
            raise  # bad data or settings, no property of the method
        return {"failed": str(error), "wer": 1.0}
    result = fitted.finish(fitted.summary)
    steps = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    validation = next(step for step in steps if step["event"] == "epoch")
    paces = [step["audio_s_per_s"] for step in steps if step["event"] == "train"][WARM_STEPS:]
    return {
        "parameters": result["parameters"],
        "bytes": result.get("adapter_bytes", result["bytes"]),
        "train_loss": validation["train_loss"],
        "valid_loss": validation["valid_loss"],
        "valid_accuracy": validation["valid_acc"],
        "audio_s_per_s": round(statistics.median(paces), 2),
        **({"device": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}),
        **decoded(Scored(run, run.corpus, split="valid"), base, data, work, device),
    }


def decoded(task: Scored, base: str, data: Path, work: Path, device: str) -> dict[str, Any]:
    """Decode a test set by the search that serving uses, and return its figures."""
    from ssvd_asr.base.load import load_base
    from training.evaluate import evaluate

    model = load_base(base, device=device, dtype="float32")
    source = data / task.corpus / f"{task.split}.jsonl"
    language = next((code for name, code in LANGUAGES.items() if f"-{name}" in task.corpus), ENGLISH)
    selected = _selected(task.run, model, work) if task.run else {}
    found = evaluate(model, source, language=language, first=task.first, progress=False, **selected)
    entries = map(json.loads, source.read_text(encoding="utf-8").splitlines())
    return figures(found, {entry["id"]: entry.get("speaker", "") for entry in entries})


def _selected(run: Run, model: BaseModel, work: Path) -> dict[str, Any]:
    """Return what a run has trained, for `evaluate`; whole weights are put into the model."""
    from ssvd_asr.adapted_model import adapt
    from ssvd_asr.adapter.read import load_adapter
    from ssvd_asr.basis.cache import factorize
    from training.methods.finish import ADAPTER_FILE, WEIGHTS_FILE, put_weights

    out = folder_of(run, work)
    if (out / WEIGHTS_FILE).exists():
        put_weights(model, out / WEIGHTS_FILE)
        return {}
    factors = factorize(model, progress=False)
    adapted = adapt(model.network, factors)
    adapter = load_adapter(out / ADAPTER_FILE, model, factors).adapter.to(model.device)
    return {"adapted": adapted, "cores": adapter.cores(model.dtype)}


def figures(found: Evaluation, speakers: Mapping[str, str]) -> dict[str, Any]:
    """Return error rates, and id, speaker, errors and words of each utterance, for intervals and tables."""
    from ssvd_asr.scoring import score

    each = [score([one.reference], [one.hypothesis]) for one in found.decoded]
    return {
        "wer": found.score.wer,
        "cer": found.score.cer,
        "insertions": found.score.insertions,
        "deletions": found.score.deletions,
        "ids": [one.id for one in found.decoded],
        "speakers": [speakers[one.id] for one in found.decoded],
        "errors": [one.substitutions + one.deletions + one.insertions for one in each],
        "words": [one.reference_words for one in each],
    }


def main(argv: list[str]) -> int:
    """Carry out the task of a key and print its result."""
    parser = CommandParser(prog="python -m recipes.real_speech.run", description="One task of the study.")
    parser.add_argument("key")
    add_places(parser)
    asked = parser.parse_args(argv)
    task = task_of(asked.key)
    if isinstance(task, Run):
        found = train(task, asked.base, asked.data, asked.work, asked.device)
    else:
        found = decoded(task, asked.base, asked.data, asked.work, asked.device)
    print(json.dumps(found))
    return 0


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the base and the folders."""
    parser.add_argument("--base", default="openai/whisper-base", help="tag or folder (default %(default)s)")
    parser.add_argument("--data", type=Path, default=Path("data/real"), help="corpora (default %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("exp/real"), help="runs (default %(default)s)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
