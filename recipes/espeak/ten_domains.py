"""Ten domains, children and adults in five accents, and speech of one word and of two words in each.

The base was trained on two of them, adults in en-us and en-gb-x-rp (`HOME`). Splits share no voice and no
sentence.
"""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recipes.espeak.speak import TEN, utterance, write_utterance
from training import train_command

HOME = ("adult-us", "adult-rp")  # what the base was trained on
UTTERANCES = {"train": 400, "valid": 60, "test": 60}
SHARED = "shared"  # the name of the adapter that is trained on all ten
P, EPOCHS = 0.4, 3
VALID_OF_EACH = 12  # utterances by which the shared adapter is validated
LENGTHS = ("one word", "two words", "sentences")


def corpus(data: Path, domain: str, split: str, length: str = "sentences") -> Path:
    """Return the manifest of a domain's utterances, and speak those that are missing."""
    words = LENGTHS.index(length) + 1 if length != "sentences" else None
    folder = data / f"{domain}-{split}{'' if words is None else f'-words{words}'}"
    path = folder / "manifest.jsonl"
    if path.exists():
        return path
    (folder / "audio").mkdir(parents=True, exist_ok=True)

    def one(index: int) -> dict[str, object] | None:
        text, speaker = utterance(domain, split, index)
        if words is not None:
            said = list(dict.fromkeys(text.split()))  # a child says some twice
            if len(said) < words:
                return None
            first = random.Random(f"{domain}/{split}/{index}/{words}").randrange(len(said) - words + 1)
            text = " ".join(said[first : first + words])
        return write_utterance(folder, f"{folder.name}-{index:06d}", text, domain, speaker)

    with ThreadPoolExecutor(max_workers=2) as pool:
        entries = [each for each in pool.map(one, range(UTTERANCES[split])) if each is not None]
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
    return path


def train(data: Path, runs: Path) -> None:
    """Train an adapter for each domain that the base was not trained on, and one on the data of all ten."""
    for name in (*(name for name in TEN if name not in HOME), SHARED):
        out = runs / name
        if (out / "result.json").exists():
            continue
        source = [_data(data, name, split) for split in ("train", "valid")]
        resume = ["--resume"] if (out / "checkpoint.safetensors").exists() else []
        arguments = ["--domain", name, f"--data={source[0]}", f"--valid={source[1]}", "--p", str(P)]
        if train_command.main([*arguments, "--epochs", str(EPOCHS), "--out", str(out), *resume]) != 0:
            raise SystemExit(f"training {name} was interrupted; run again to resume")


def _data(data: Path, name: str, split: str) -> Path:
    """Return the manifest of a domain, or of all of them: of validation data a share of each."""
    if name != SHARED:
        return corpus(data, name, split)
    path = data / f"all-{split}.jsonl"
    lines = []
    for domain in TEN:
        source = corpus(data, domain, split)
        kept = source.read_text(encoding="utf-8").splitlines()
        for line in kept if split == "train" else kept[:VALID_OF_EACH]:
            entry = json.loads(line)
            entry["audio"] = f"{source.parent.name}/{entry['audio']}"
            lines.append(f"{json.dumps(entry)}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def corpora(data: Path) -> None:
    """Speak every missing corpus."""
    for domain in TEN:
        for split in UTTERANCES:
            corpus(data, domain, split)
        for split in ("valid", "test"):
            for length in LENGTHS[:-1]:
                corpus(data, domain, split, length)
