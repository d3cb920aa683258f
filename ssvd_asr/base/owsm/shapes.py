"""OWSM models with random weights, at real sizes and tiny ones, for benchmarks and tests without the hub.

Sizes are those of the published checkpoints: arXiv 2509.02830, table III, and their config.yaml; those of
OWSM v4 and OWSM-CTC are from ESPnet's recipes egs2/owsm_v4 and egs2/owsm_ctc_v3.1. OWSM-CTC v4 has no recipe
there: its shape is that of v3.1 with v4's 128 mels. The words that such a model outputs mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssvd_asr.base.owsm.config import ModelConfig, parse_config
from ssvd_asr.base.owsm.kinds import build, kind_of
from ssvd_asr.base.owsm.model import OwsmModel
from ssvd_asr.base.owsm.tokens import bpe_processor

if TYPE_CHECKING:
    import torch
    from espnet2.s2t.espnet_ctc_model import ESPnetS2TCTCModel
    from espnet2.s2t.espnet_model import ESPnetS2TModel

NANO = Path(__file__).parents[1] / "nano"  # every shape uses its BPE model
TIME_STEP_S = 0.02


@dataclass(frozen=True)
class OwsmShape:
    """Size of a model. The defaults are a tiny one that runs in milliseconds."""

    width: int = 32
    encoder_layers: int = 2
    decoder_layers: int = 2
    heads: int = 4
    mels: int = 20
    input_layer: str = "conv2d8"  # conv2d: one vector for 40 ms; conv2d8: for 80 ms
    encoder: str = "e_branchformer"
    window_s: float = 3.0
    vocabulary: int | None = None  # None: as many as there are symbols and pieces
    # Of OWSM-CTC only, whose encoder is e_branchformer_ctc and which has no decoder:
    prompt_layers: int = 1  # of the encoder of previous texts, half as wide as the other
    intermediate: tuple[int, ...] = (1,)  # layers after which CTC's output is fed back
    cross_attention_every: int = 1  # how many layers share one that attends to the previous text

    @property
    def ctc_only(self) -> bool:
        """Whether this is an OWSM-CTC."""
        return self.encoder == "e_branchformer_ctc"

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that only this kind of model has."""
        return ("<nolang>",) if self.ctc_only else ()

    def encoder_conf(self) -> dict[str, Any]:
        """Return the config's encoder_conf, as in OWSM (E-Branchformer) or OWLS (Transformer)."""
        common = {
            "output_size": self.width,
            "attention_heads": self.heads,
            "linear_units": 4 * self.width,
            "num_blocks": self.encoder_layers,
            "dropout_rate": 0.1,
            "input_layer": self.input_layer,
            "positionwise_layer_type": "linear",
        }
        if self.encoder == "transformer":
            return {**common, "normalize_before": True}
        branches = {
            **common,
            "attention_layer_type": "selfattn",
            "pos_enc_layer_type": "abs_pos",
            "rel_pos_type": "latest",
            "cgmlp_linear_units": 4 * self.width,
            "cgmlp_conv_kernel": 31,
            "use_linear_after_conv": False,
            "gate_activation": "identity",
            "layer_drop_rate": 0.0,
            "use_ffn": True,
            "macaron_ffn": True,
            "merge_conv_kernel": 31,
            "use_flash_attn": True,  # as in OWSM's own configs
        }
        if not self.ctc_only:
            return branches
        every = self.cross_attention_every
        return {
            **branches,
            "interctc_layer_idx": list(self.intermediate),
            "interctc_use_conditioning": True,
            "use_cross_attention": [layer % every == every - 1 for layer in range(self.encoder_layers)],
        }


TINY = OwsmShape()
TINY_CTC = OwsmShape(encoder="e_branchformer_ctc", decoder_layers=0)
TINY_OWLS = OwsmShape(encoder="transformer", input_layer="conv2d", window_s=2.0)
NANO_SHAPE = OwsmShape(
    width=128, encoder_layers=6, decoder_layers=2, heads=4, mels=40, window_s=15.0
)  # of the embedded owsm-nano
OWSM_01B = OwsmShape(
    width=384, encoder_layers=6, decoder_layers=6, heads=6, mels=80, input_layer="conv2d", window_s=30.0,
    vocabulary=50_002,
)  # fmt: skip
OWSM_1B = OwsmShape(
    width=1024, encoder_layers=18, decoder_layers=18, heads=16, mels=80, input_layer="conv2d", window_s=30.0,
    vocabulary=50_002,
)  # fmt: skip
OWSM_SMALL = OwsmShape(
    width=768, encoder_layers=9, decoder_layers=9, heads=12, mels=80, input_layer="conv2d", window_s=30.0,
    vocabulary=50_002,
)  # fmt: skip
OWSM_V4_BASE = replace(OWSM_01B, mels=128, input_layer="conv2d8")
OWSM_V4_SMALL = replace(OWSM_SMALL, mels=128, input_layer="conv2d8")
OWSM_V4_MEDIUM = replace(OWSM_1B, mels=128, input_layer="conv2d8")
OWSM_CTC_1B = OwsmShape(
    width=1024, encoder_layers=27, decoder_layers=0, heads=16, mels=80, input_layer="conv2d8", window_s=30.0,
    vocabulary=50_002, encoder="e_branchformer_ctc", prompt_layers=4, intermediate=(6, 12, 15, 21),
    cross_attention_every=3,
)  # fmt: skip
OWSM_CTC_V4_1B = replace(OWSM_CTC_1B, mels=128)
OWLS_2B = OwsmShape(
    width=2048, encoder_layers=16, decoder_layers=16, heads=64, mels=80, input_layer="conv2d",
    encoder="transformer", window_s=30.0, vocabulary=50_002,
)  # fmt: skip

SHAPES: Mapping[str, OwsmShape] = {
    "tiny": TINY,
    "tiny-owls": TINY_OWLS,
    "tiny-ctc": TINY_CTC,
    "nano": NANO_SHAPE,
    "0.1b": OWSM_01B,
    "0.4b": OWSM_SMALL,
    "1b": OWSM_1B,
    "v4-0.1b": OWSM_V4_BASE,
    "v4-0.4b": OWSM_V4_SMALL,
    "v4-1b": OWSM_V4_MEDIUM,
    "ctc-1b": OWSM_CTC_1B,
    "ctc-v4-1b": OWSM_CTC_V4_1B,
    "owls-2b": OWLS_2B,
}


def token_list(
    pieces: Sequence[str], window_s: float, vocabulary: int | None = None, more: Sequence[str] = ()
) -> list[str]:
    """Return a token list in OWSM's order.

    That is blank, unk, controls, languages, tasks, times, pieces, sos, eos, sop. `filler` tokens before sos
    bring the list to `vocabulary` tokens. `more` are symbols of the shape, see OwsmShape.symbols.
    """
    times = [f"<{step * TIME_STEP_S:.2f}>" for step in range(round(window_s / TIME_STEP_S) + 1)]
    head = ["<blank>", "<unk>", "<na>", "<nospeech>", "<eng>", "<nld>", "<asr>", "<st_nld>", "<notimestamps>"]
    tokens = [*head, *more, *times, *(piece for piece in pieces if piece != "<unk>")]
    tail = ["<sos>", "<eos>", "<sop>"]
    missing = 0 if vocabulary is None else vocabulary - len(tokens) - len(tail)
    return [*tokens, *(f"filler{i}" for i in range(missing)), *tail]


def espnet_config(
    shape: OwsmShape, tokens: Sequence[str], bpe_file: str, stats_file: str | None
) -> dict[str, Any]:
    """Return a config as ESPnet's tasks s2t and s2t_ctc write it; it normalises if given statistics."""
    config = {
        "init": None,
        "input_size": None,
        "token_list": list(tokens),
        "token_type": "bpe",
        "bpemodel": bpe_file,
        "cleaner": None,
        "g2p": None,
        "ctc_conf": {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True, "ignore_nan_grad": None},
        "frontend": "default",
        "frontend_conf": {
            "n_fft": 512, "win_length": 400, "hop_length": 160, "fs": "16k", "n_mels": shape.mels,
        },
        "specaug": "specaug",
        "specaug_conf": {
            "apply_time_warp": False, "apply_freq_mask": True, "freq_mask_width_range": [0, 4],
            "num_freq_mask": 2, "apply_time_mask": True, "time_mask_width_ratio_range": [0.0, 0.05],
            "num_time_mask": 2,
        },
        "normalize": "global_mvn" if stats_file is not None else None,
        "normalize_conf": {"stats_file": stats_file} if stats_file is not None else {},
        "preencoder": None,
        "preencoder_conf": {},
        "encoder": shape.encoder,
        "encoder_conf": shape.encoder_conf(),
        "postencoder": None,
        "postencoder_conf": {},
        "decoder": "transformer",
        "decoder_conf": {
            "attention_heads": shape.heads, "linear_units": 4 * shape.width,
            "num_blocks": shape.decoder_layers, "dropout_rate": 0.1, "input_layer": "embed",
        },
        "model": "espnet",
        "model_conf": {"ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": False},
        "preprocessor": "s2t",
        "preprocessor_conf": {
            "fs": 16000, "speech_length": shape.window_s, "speech_resolution": TIME_STEP_S,
            "na_symbol": "<na>", "notime_symbol": "<notimestamps>", "first_time_symbol": "<0.00>",
            "last_time_symbol": f"<{shape.window_s:.2f}>", "text_prev_apply_prob": 0.5,
            "time_apply_prob": 0.5, "speech_init_silence": 1.0,
        },
    }  # fmt: skip
    if not shape.ctc_only:
        return config
    absent = ("decoder", "decoder_conf", "preencoder", "preencoder_conf", "postencoder", "postencoder_conf")
    return {key: value for key, value in config.items() if key not in absent} | {
        "promptencoder": "transformer",
        "promptencoder_conf": {
            "output_size": shape.width // 2, "attention_heads": shape.heads // 2,
            "linear_units": 2 * shape.width, "num_blocks": shape.prompt_layers,
        },
        "model": "espnet_ctc",
        "model_conf": {
            "interctc_weight": 0.8, "sym_na": "<na>",
            "ctc_asr_only": [True] * len(shape.intermediate) + [False],
        },
        "preprocessor": "s2t_ctc",
        "preprocessor_conf": {
            "na_symbol": "<na>", "speech_length": shape.window_s, "speech_init_silence": 1.0,
            "text_prev_apply_prob": 0.5, "lang_apply_prob": 0.5, "nolang_symbol": "<nolang>",
        },
    }  # fmt: skip


def shape_config(shape: OwsmShape) -> ModelConfig:
    """Return the config of a model of this shape, with owsm-nano's BPE pieces and no statistics."""
    path = NANO / "bpe.model"
    pieces = bpe_processor(path.read_bytes(), path)
    words = [pieces.IdToPiece(i) for i in range(pieces.GetPieceSize()) if not pieces.IsControl(i)]
    tokens = token_list(words, shape.window_s, shape.vocabulary, shape.symbols)
    return parse_config(espnet_config(shape, tokens, path.name, None), roots=[NANO])


def meta_network(shape: OwsmShape) -> ESPnetS2TModel | ESPnetS2TCTCModel:
    """Return the network on the meta device, without storage, to count or inspect parameters."""
    import torch

    with torch.device("meta"):
        return build(shape_config(shape))


def random_base(
    shape: OwsmShape, *, seed: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> OwsmModel:
    """Return a base of this shape with random weights, the same for one seed and kind of device.

    Building it takes 4 bytes a parameter on the device, whatever the dtype: OWSM-1B 4 GB, OWLS-2B 9 GB.
    """
    import torch

    config, device = shape_config(shape), torch.device(device)
    with torch.random.fork_rng(), device:
        torch.manual_seed(seed)
        network = build(config)
    return kind_of(config)("random", network, config, device=device, dtype=dtype or torch.float32)
