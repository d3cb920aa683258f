"""Packaging of a trained owsm-nano: averaged weights in half precision, with the config.

python -m recipes.espeak.package --run exp/owsm-nano
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

import ssvd_asr
from ssvd_asr.base.owsm.config import read_config
from ssvd_asr.base.owsm.network import build_network
from ssvd_asr.parser import CommandParser

NANO = Path(ssvd_asr.__file__).parent / "base" / "nano"
# Added to the times at which CTC emits a word: it is late at the start and early before a pause.
# `python -m recipes.espeak.times --split valid` measures the first, as the mean bias of its rows.
ALIGNMENT = {"start_shift_s": -0.01, "end_shift_s": 0.08}
# One sentence, with what is heard of its neighbours where speech has no silence to be cut at.
# Chosen on the validation clips joined by `recipes.espeak.joined`.
PIECES = {"joined_speech_s": 6.0, "context_s": 1.25}
FILES = ("tokens.txt", "bpe.model", "feats_stats.npz")


def package(run: Path, target: Path = NANO) -> int:
    """Write ``target`` from the checkpoint in ``run`` and return the checkpoint's training step."""
    network = build_network(read_config(run / "config.yaml"))
    state = network.state_dict()
    learned = {name for name, _ in network.named_parameters()}
    with safe_open(run / "checkpoint.safetensors", "pt") as file:
        step = int(file.metadata()["step"])
        for name in learned:
            state[name] = file.get_tensor(f"average.{name}").to(torch.float16)
    # Buffers (mel filters, mean and variance) stay in float32.
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(run / name, target / name)
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["token_list"] = "tokens.txt"  # keeps the config short; ESPnet accepts a file name here
    config["alignment_conf"] = ALIGNMENT
    config["pieces_conf"] = PIECES
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(tensors, target / "model.safetensors", {"format": "pt", "step": str(step)})
    (target / "model.safetensors").chmod(0o644)  # save_file writes it readable by the owner only
    return step


def main(argv: list[str] | None = None) -> int:
    """Package the newest checkpoint of ``--run``."""
    parser = CommandParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("exp/owsm-nano"))
    parser.add_argument("--target", type=Path, default=NANO)
    args = parser.parse_args(argv)
    print(f"packaged step {package(args.run, args.target)} in {args.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
