"""Training of owsm-nano, the embedded OWSM, on the spoken grammar. Can be stopped and resumed.

    python -m recipes.espeak.train_base --data data/espeak --out exp/owsm-nano --steps 6000

The learning rate warms up, stays, and falls to zero over the last part. A larger ``--steps`` before that
part prolongs the run. ``--warm-start`` continues from the packaged weights if there is no checkpoint.
``--processes`` share each step. Two processes of one thread wait once per step; two threads of one process
wait at every operation.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm
import torch
import torch.distributed
import yaml
from espnet2.torch_utils.initialize import initialize
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.multiprocessing.spawn import spawn

from recipes.espeak import schedule
from recipes.espeak.batches import MAX_PHONEMES, Batch, collate, disturb, join, plan, read_manifests
from recipes.espeak.guided_attention import guided_attention_loss
from recipes.espeak.package import NANO
from recipes.espeak.tokens import token_list, train_bpe
from ssvd_asr.base.owsm.config import ModelConfig, read_config
from ssvd_asr.base.owsm.network import build_network
from ssvd_asr.parser import CommandParser

_Formatter = argparse.RawDescriptionHelpFormatter
CONFIG = Path(__file__).with_name("owsm_nano.yaml")
PHONEME_LAYER = 3  # of 6; the layers above turn phonemes into pieces
CLIP_NORM = 5.0
EMA_DECAY = 0.998


def prepare(out: Path, data: Path) -> ModelConfig:
    """Write tokens, BPE model, statistics and config.yaml into ``out`` if missing; return the config."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "config.yaml").exists():
        config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        train_bpe(out)
        config["token_list"] = token_list(out / "bpe.model")
        config["bpemodel"] = "bpe.model"
        (out / "tokens.txt").write_text("\n".join(config["token_list"]) + "\n", encoding="utf-8")
        write_statistics(out / "feats_stats.npz", config, data)
        (out / "config.yaml").write_text(
            yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
    return read_config(out / "config.yaml")


def write_statistics(path: Path, config: dict[str, Any], data: Path, utterances: int = 400) -> None:
    """Write GlobalMVN statistics of the features of ``utterances`` disturbed, unpadded clips."""
    import soundfile as sf
    from espnet2.asr.frontend.default import DefaultFrontend

    frontend = DefaultFrontend(**config["frontend_conf"])
    rng = np.random.default_rng(0)
    count, total, squares = 0, 0.0, 0.0
    for entry in read_manifests(data / "adult-train")[:utterances]:
        row = sf.read(entry.audio, dtype="float32")[0]
        disturb(row, rng)
        wave = torch.from_numpy(row)[None]
        feats = frontend(wave, torch.tensor([wave.shape[1]]))[0][0].double()
        count, total, squares = count + len(feats), total + feats.sum(0), squares + feats.square().sum(0)
    np.savez(path, count=count, sum=np.asarray(total), sum_square=np.asarray(squares))


class Trainer:
    """The network, its weight average, optimiser and step, in one of ``processes`` equal processes."""

    def __init__(self, config: ModelConfig, out: Path, processes: int = 1) -> None:
        torch.manual_seed(0)
        self.out = out
        self.processes = processes
        self.network = build_network(config)
        # ESPnet's initialisation: xavier, and gating convolutions as the identity.
        initialize(self.network, "xavier_uniform")
        # The front end has no parameters to learn, so it runs apart without gradients.
        self.frontend, self.network.frontend = self.network.frontend, None
        convolutions = self.network.encoder.embed.conv  # two fifths of a step's time in float32
        convolutions.forward = torch.autocast("cpu", torch.bfloat16)(convolutions.forward)
        convolutions.register_forward_hook(lambda _, __, output: output.float())
        self.phoneme_head = torch.nn.Linear(self.network.encoder.output_size(), 2 * MAX_PHONEMES)
        self.average = {n: p.detach().clone() for n, p in self.network.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            [*self.network.parameters(), *self.phoneme_head.parameters()],
            lr=schedule.PEAK_LR,
            betas=(0.9, 0.98),
            eps=1e-8,
            weight_decay=0.01,
            fused=True,
        )
        self.step = 0
        self.first_step = 0  # of this optimiser, where the learning rate warms up
        self._middle: torch.Tensor | None = None  # (B, T, d) of this step
        self._encoded: tuple[torch.Tensor, ...] = ()  # (B, T, d) and lengths (B,) of this step
        self.network.encoder.encoders[PHONEME_LAYER].register_forward_hook(self._keep)
        self.network.encoder.register_forward_hook(self._keep_encoded)

    def _keep(self, _: torch.nn.Module, __: object, output: tuple[torch.Tensor, ...]) -> None:
        self._middle = output[0]

    def _keep_encoded(self, _: torch.nn.Module, __: object, output: tuple[torch.Tensor, ...]) -> None:
        self._encoded = output

    def attention_loss(self, text_ctc: torch.Tensor) -> torch.Tensor:
        """Return `guided_attention_loss` for the decoder's last pass."""
        encoded, lengths, *_ = self._encoded
        with torch.no_grad():
            log_probs = self.network.ctc.log_softmax(encoded)
        attentions = [layer.src_attn.attn for layer in self.network.decoder.decoders]
        return guided_attention_loss(attentions, log_probs, lengths, text_ctc)

    def phoneme_loss(self, phonemes: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Return a middle layer's cross-entropy with the phonemes (B, T, 2) spoken there, and the accuracy.

        CTC alone at first predicts only blanks, and the encoder learned to ignore the sound before CTC found
        an alignment. espeak-ng's exact phoneme times prevent that.
        """
        assert self._middle is not None
        logits = self.phoneme_head(self._middle).unflatten(-1, (2, MAX_PHONEMES))
        steps = min(logits.shape[1], phonemes.shape[1])
        logits, targets = logits[:, :steps].flatten(0, 2), phonemes[:, :steps].flatten()
        loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=-1, reduction="sum")
        speech = targets > 0
        return loss / len(phonemes), float((logits.argmax(-1) == targets)[speech].float().mean())

    def train_step(self, batch: Batch, lr: float) -> dict[str, float]:
        """Make one update and return its loss figures. An update with a non-finite gradient is skipped."""
        self.network.train()
        self.network.ctc_weight = schedule.ctc_weight(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        rows, samples = batch.speech.shape
        with torch.no_grad():
            feats, lengths = self.frontend(batch.speech, torch.full((rows,), samples))
        none = torch.full((rows, 1), self.network.na)
        loss, stats, _ = self.network(
            feats, lengths, batch.text, batch.text_lengths, none, torch.ones(rows, dtype=torch.long),
            batch.text_ctc, batch.text_ctc_lengths,
        )  # fmt: skip
        if self.step < schedule.PHONEME_STEPS:
            phoneme_loss, stats["phoneme_acc"] = self.phoneme_loss(batch.phonemes)
            stats["loss_phoneme"] = phoneme_loss.detach()
            loss = loss + 0.5 * phoneme_loss
        if self.step >= schedule.GUIDED_FROM:
            guided_loss = self.attention_loss(batch.text_ctc)
            stats["loss_guided"] = guided_loss.detach()
            loss = loss + 0.5 * guided_loss
        loss.backward()
        if self.processes > 1:
            self.average_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        decay = min(EMA_DECAY, 1 - 10 / (10 + self.step))
        with torch.no_grad():
            for name, p in self.network.named_parameters():
                self.average[name].lerp_(p, 1 - decay)
        return {k: float(v) for k, v in stats.items() if v is not None} | {"grad_norm": float(norm)}

    def average_gradients(self) -> None:
        """Replace the gradients by their mean over all processes, in one message."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        gradients += [p.grad for p in self.phoneme_head.parameters() if p.grad is not None]
        flat = torch.nn.utils.parameters_to_vector(gradients)
        torch.distributed.all_reduce(flat)
        torch.nn.utils.vector_to_parameters(flat / self.processes, gradients)

    def save(self) -> None:
        """Write the checkpoint atomically: weights, their average, the optimiser, the step."""
        tensors = {f"network.{n}": p.detach() for n, p in self.network.named_parameters()}
        tensors |= {f"average.{n}": p for n, p in self.average.items()}
        tensors |= {f"phoneme_head.{n}": p.detach() for n, p in self.phoneme_head.named_parameters()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
        temporary = self.out / "checkpoint.part"
        steps = {"step": str(self.step), "first_step": str(self.first_step)}
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, steps)
        temporary.replace(self.out / "checkpoint.safetensors")

    def warm_start(self, packaged: Path) -> None:
        """Load packaged weights and their step, with a new optimiser."""
        with safe_open(packaged / "model.safetensors", "pt") as file, torch.no_grad():
            self.step = self.first_step = int(file.metadata()["step"])
            for name, p in self.network.named_parameters():
                p.copy_(file.get_tensor(name))
                self.average[name] = p.detach().clone()

    def resume(self) -> None:
        """Continue from ``checkpoint.safetensors`` if there is one."""
        path = self.out / "checkpoint.safetensors"
        if not path.exists():
            return
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            self.step = int(file.metadata()["step"])
            self.first_step = int(file.metadata()["first_step"])
        params = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(tensors[f"network.{name}"])
                self.average[name] = tensors[f"average.{name}"].clone()
            for name, p in self.phoneme_head.named_parameters():
                p.copy_(tensors[f"phoneme_head.{name}"])
        state = self.optimizer.state_dict()
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, field = key.split(".")
                state["state"].setdefault(int(index), {})[field] = value
        self.optimizer.load_state_dict(state)


def run(process: int, args: argparse.Namespace) -> None:
    """Train process ``process`` of ``args.processes`` until ``args.steps``; only the first writes."""
    if args.processes > 1:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # torch sends SIGINT when the parent dies
        torch.set_num_threads(1)
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{args.meeting}", rank=process, world_size=args.processes
        )
    config = read_config(args.out / "config.yaml")
    trainer = Trainer(config, args.out, args.processes)
    if args.warm_start and not (args.out / "checkpoint.safetensors").exists():
        trainer.warm_start(NANO)
    else:
        trainer.resume()
    bpe = spm.SentencePieceProcessor(model_file=str(args.out / "bpe.model"))
    ids = {t: i for i, t in enumerate(config.token_list)}
    entries = read_manifests(args.data / "adult-train")
    started, audio_s = time.monotonic(), 0.0
    with (args.out / "log.jsonl").open("a", encoding="utf-8") as log:
        while trainer.step < args.steps:
            longest_s = schedule.longest_s(trainer.step)
            rng = np.random.default_rng([0, trainer.step])
            rows = join(entries, schedule.joined_share(trainer.step), rng)
            own_s = schedule.batch_s(trainer.step) / args.processes
            batches = plan(rows, own_s, longest_s, rng)
            batches = batches[process : len(batches) // args.processes * args.processes : args.processes]
            # Plan again every 100 batches until the longest sentences are in; afterwards once per epoch.
            for planned in batches[: len(entries) if longest_s >= 15.0 else 100][: args.steps - trainer.step]:
                rng = np.random.default_rng([1, trainer.step, process])
                batch = collate(planned, bpe, ids, rng, own_s, schedule.padded_share(trainer.step))
                rate = schedule.learning_rate(trainer.step, args.steps, trainer.first_step)
                stats = trainer.train_step(batch, rate)
                audio_s += batch.speech.numel() / 16_000 * args.processes
                if process == 0 and trainer.step % 20 == 0:
                    speed = audio_s / (time.monotonic() - started)
                    line = {"step": trainer.step, "audio_s_per_s": round(speed, 1)}
                    log.write(json.dumps(line | {k: round(v, 4) for k, v in stats.items()}) + "\n")
                    log.flush()
                if process == 0 and (trainer.step % args.save_every == 0 or trainer.step == args.steps):
                    trainer.save()


def main(argv: list[str] | None = None) -> int:
    """Train until ``--steps``; a checkpoint every ``--save-every`` steps, a JSON line every 20."""
    parser = CommandParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("--data", type=Path, default=Path("data/espeak"))
    parser.add_argument("--out", type=Path, default=Path("exp/owsm-nano"))
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--warm-start", action="store_true", help="begin with the weights in the package")
    args = parser.parse_args(argv)
    if args.warm_start and not (args.out / "checkpoint.safetensors").exists():
        # The weights are valid only with their own pieces and statistics.
        shutil.copytree(NANO, args.out, dirs_exist_ok=True)
    prepare(args.out, args.data)
    if args.processes == 1:
        run(0, args)
    else:
        with tempfile.TemporaryDirectory() as folder:
            args.meeting = Path(folder) / "meeting"
            spawn(run, (args,), nprocs=args.processes)  # type: ignore[no-untyped-call]
    return 0


if __name__ == "__main__":
    sys.exit(main())
