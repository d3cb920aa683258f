"""Random OWSM checkpoints in the hub's file layout, at any shape. Weights mean nothing; files are genuine."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from ssvd_asr.base.owsm import shapes
from ssvd_asr.base.owsm.shapes import OWSM_01B, TINY, TINY_CTC, TINY_OWLS, OwsmShape, espnet_config

with warnings.catch_warnings():  # see ssvd_asr/base/owsm/tokens.py
    warnings.simplefilter("ignore")
    import sentencepiece

if TYPE_CHECKING:
    from espnet2.s2t.espnet_model import ESPnetS2TModel

__all__ = ["OWSM_01B", "TINY", "TINY_CTC", "TINY_OWLS", "OwsmShape", "espnet_config"]

SENTENCES = (
    "the small boat turned slowly toward the light on the hill",
    "seven green birds were singing near the old stone bridge",
    "please bring another chair and put it beside the open window",
    "yesterday my brother found a yellow book under the kitchen table",
    "we walked along the river until the evening rain began to fall",
    "nobody knows why the quiet engine stopped before the last station",
)
LONG_TEXT = " ".join(SENTENCES)  # more than 100 tokens of any model here


def bpe_model(vocabulary: int = 60) -> bytes:
    """A sentencepiece model trained on SENTENCES."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=vocabulary, model_type="unigram",
        hard_vocab_limit=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    return model.getvalue()


def token_list(
    bpe: bytes, window_s: float, vocabulary: int | None = None, more: Sequence[str] = ()
) -> list[str]:
    """OWSM's tokens with the pieces of a serialised sentencepiece model."""
    pieces = sentencepiece.SentencePieceProcessor()
    pieces.LoadFromSerializedProto(bpe)
    words = [pieces.IdToPiece(i) for i in range(pieces.GetPieceSize()) if not pieces.IsControl(i)]
    return shapes.token_list(words, window_s, vocabulary, more)


def write_random_owsm(
    folder: Path, shape: OwsmShape = TINY, *, seed: int = 1, exp: str = "exp", legacy_keys: bool = False
) -> Path:
    """Write a hub repository (meta.yaml, data/, exp/) with random weights into `folder` and return it.

    legacy_keys names the subsampling layer as checkpoints before espnet 202611 do. OWLS has exp="exp_owsm".
    """
    from ssvd_asr.base.owsm.config import parse_config
    from ssvd_asr.base.owsm.kinds import build

    data = folder / "data/token_list/bpe_unigram50000"
    stats_file = Path(exp) / "s2t_stats_raw_bpe50000/train/feats_stats.npz"
    run = folder / exp / "s2t_train_random_raw_bpe50000"
    for made in (data, (folder / stats_file).parent, run):
        made.mkdir(parents=True)
    bpe = bpe_model()
    tokens = token_list(bpe, shape.window_s, shape.vocabulary, shape.symbols)
    (data / "bpe.model").write_bytes(bpe)
    (data / "tokens.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    _write_stats(folder / stats_file, shape.mels)
    config = espnet_config(shape, tokens, "data/token_list/bpe_unigram50000/bpe.model", str(stats_file))
    (run / "config.yaml").write_text(yaml.dump(config, Dumper=_dumper()), encoding="utf-8")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(parse_config(config, roots=[folder]))
        sharpen(network)
    state = {name: tensor.float() for name, tensor in network.state_dict().items()}
    if legacy_keys:
        state = {name.replace("encoder.embed.out.", "encoder.embed.out.0."): t for name, t in state.items()}
    checkpoint = run / "valid.total_count.ave_5best.till45epoch.pth"
    torch.save(state, checkpoint)
    meta = {
        "espnet": "202611",
        "files": {"s2t_model_file": str(checkpoint.relative_to(folder))},
        "yaml_files": {"s2t_train_config": str((run / "config.yaml").relative_to(folder))},
        "python": "3.12",
        "timestamp": 1700000000.0,
        "torch": "2.14.1",
    }
    (folder / "meta.yaml").write_text(yaml.safe_dump(meta), encoding="utf-8")
    return folder


def sharpen(network: ESPnetS2TModel) -> None:
    """Make a random network's next token depend clearly on what it heard and said, and let it end sometimes.

    Freshly initialised, its best scores lie within 1e-3 of each other and it repeats one token for ever.
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1 and name.startswith("decoder."):
                parameter.mul_(5.0 if "src_attn" in name or "output_layer" in name else 2.5)
            if name == "ctc.ctc_lo.weight" and not hasattr(network, "decoder"):
                parameter.mul_(4.0)
            if name == "decoder.output_layer.bias":
                parameter[network.eos] = 5.0


def waves(count: int, shape: OwsmShape = TINY, seed: int = 1) -> list[np.ndarray]:
    """Tones in noise, float32 (samples,), of falling length; the first fills the window."""
    generator = np.random.default_rng(seed)
    longest = int(16_000 * shape.window_s)
    made = []
    for row in range(count):
        samples = longest - row * longest // (count + 1)
        time_s = np.arange(samples) / 16_000
        tone = np.sin(2 * np.pi * generator.uniform(100, 3000) * time_s * (1 + 0.3 * np.sin(3 * time_s)))
        made.append((0.3 * tone + 0.05 * generator.standard_normal(samples)).astype(np.float32))
    return made


def _write_stats(path: Path, mels: int) -> None:
    """Sums as ESPnet's collect_stats leaves them, for features of mean about -6 and deviation 3."""
    frames = 1000
    mean = np.linspace(-5.0, -7.0, mels, dtype=np.float32)
    total, total_square = frames * mean, frames * (mean**2 + 9.0)
    np.savez(path, count=frames, sum=total, sum_square=total_square.astype(np.float32))


def _dumper() -> Any:
    return getattr(yaml, "CSafeDumper", yaml.SafeDumper)
