"""Whisper as a base model: transformers' network, its tokens and its digest. See ssvd_asr.base.model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ssvd_asr.base import voice
from ssvd_asr.base.learner import Learner
from ssvd_asr.base.model import Decoder
from ssvd_asr.base.probe import Probe
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.state_digest import check_unchanged, digest_of, sha256, state_entries
from ssvd_asr.base.whisper.decoder import WatchedDecoder, WhisperDecoder
from ssvd_asr.base.whisper.encoder import encode, hidden
from ssvd_asr.base.whisper.features import FeatureConfig, LogMel
from ssvd_asr.base.whisper.files import CONFIG, FEATURES, GENERATION, TOKENIZER, WEIGHTS, WhisperFiles
from ssvd_asr.base.whisper.learner import WhisperLearner
from ssvd_asr.base.whisper.network import OUTPUT, build_network
from ssvd_asr.base.whisper.probe import WHISPER_PROBE
from ssvd_asr.base.whisper.rules import Rules
from ssvd_asr.base.whisper.tokens import WhisperTokens
from ssvd_asr.base.window import Clock, FloatArray, Listening, Window
from ssvd_asr.errors import BaseModelError
from ssvd_asr.tensor_files import save_tensors

if TYPE_CHECKING:
    from torch import nn
    from transformers import WhisperForConditionalGeneration

_DIGEST_FORMAT = 1
MULTILINGUAL_VOCABULARY = 51_865  # the smallest of a multilingual Whisper, where no file says
# Options that no shape shows. Listed by name: an option of a later transformers changes no old digest.
_OPTIONS = ("encoder_attention_heads", "decoder_attention_heads", "activation_function", "scale_embedding",
            "max_source_positions", "max_target_positions", "tie_word_embeddings")  # fmt: skip
# Ends of the names of linears. The output layer is tied to the token embedding and is not adapted.
LINEARS = ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj", "fc1", "fc2")


class WhisperModel:
    """Whisper in evaluation mode, with no gradients.

    The attributes are those of BaseModel. Encoder and decoder are cast to `dtype`; the features stay float32.
    """

    family = "Whisper"
    linears: tuple[str, ...] = LINEARS
    embedding: str | None = None  # the output layer is the same tensor
    knows_previous_text = True
    length_penalty: float | None = 1.0
    searches: tuple[str, ...] = ("checked", "greedy", "beam")
    ctc_head: nn.Linear | None = None

    def __init__(
        self,
        name: str,
        network: WhisperForConditionalGeneration,
        files: WhisperFiles,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Compute the digest of a float32 network, freeze it, then move and cast it in place.

        Raises:
            BaseModelError: a file of the checkpoint lacks something or contradicts another.
        """
        self.name = name
        self.files = files
        generation = files.json(GENERATION)
        config: Any = network.config
        self._features = LogMel(FeatureConfig.of(files.json(FEATURES), int(config.num_mel_bins)))
        length_s = float(self._features.config.chunk_length)
        multilingual = bool(generation.get("is_multilingual", config.vocab_size >= MULTILINGUAL_VOCABULARY))
        self.tokens = WhisperTokens(
            files.texts[TOKENIZER], int(config.vocab_size), length_s,
            multilingual=multilingual, most_previous=int(config.max_target_positions) // 2 - 1,
        )  # fmt: skip
        self._rules = Rules(
            self.tokens,
            generation.get("suppress_tokens") or config.suppress_tokens or (),
            generation.get("begin_suppress_tokens") or config.begin_suppress_tokens or (),
            generation.get("max_initial_timestamp_index"),
        )
        self._heads = _alignment_heads(generation, config)
        self._positions = int(config.max_target_positions)
        self.window = Window(length_s, 16_000, setting=f"chunk_length in its {FEATURES}")
        self.digest = self._digest(network)
        self.device = device if device is not None else torch.device("cpu")
        self.dtype = dtype
        self.network: Any = network.requires_grad_(False).eval().to(self.device, dtype)

    @property
    def probe(self) -> Probe:
        """See BaseModel."""
        return WHISPER_PROBE

    @cached_property
    def learner(self) -> Learner:
        """See BaseModel."""
        return WhisperLearner(self.network, self._features, self.tokens.sos, self.tokens.eos)

    @torch.no_grad()
    def encode(
        self,
        waves: Sequence[FloatArray],
        prompts: Sequence[Prompt] | None = None,  # noqa: ARG002 - the decoder reads them
    ) -> torch.Tensor:
        """See BaseModel. Every wave is padded with zeros to the whole window, as in training.

        Raises:
            AudioTooLongError, AudioError: see Window.fill.
            RuntimeError: the network is in training mode, where dropout would change the words.
        """
        if self.network.training:
            raise RuntimeError("the base network is in training mode: call network.eval() before decoding")
        features = self._features(self.window.padded(waves, self.name, self.device))
        return encode(self.network.model.encoder, features.to(self.dtype))

    @property
    def voice_probe(self) -> str:
        """See BaseModel."""
        return f"whisper-{self._middle}-of-{len(self.network.model.encoder.layers)}"

    @torch.no_grad()
    def voice_points(self, waves: Sequence[FloatArray]) -> torch.Tensor:
        """See BaseModel. Each wave is encoded alone and unpadded, through half of the layers."""
        encoder = self.network.model.encoder
        return voice.points(
            [
                voice.point(
                    hidden(
                        encoder,
                        self._features(voice.heard(wave, self.window).to(self.device)).to(self.dtype),
                        self._middle,
                    )[0]
                )
                for wave in waves
            ]
        )

    @property
    def _middle(self) -> int:
        return (len(self.network.model.encoder.layers) + 1) // 2

    def open_decoder(
        self,
        encoded: torch.Tensor,
        *,
        width: int = 1,  # noqa: ARG002 - rows are made as they are needed
    ) -> AbstractContextManager[Decoder]:
        """See BaseModel."""
        return WhisperDecoder(self.network, encoded)

    def forbid(
        self, scores: torch.Tensor, prefixes: Sequence[Sequence[int]], last_times: Sequence[int | None]
    ) -> None:
        """See BaseModel and Rules."""
        self._rules.forbid(scores, prefixes, last_times)

    def most_tokens(self, prompt: Sequence[int], frames: int) -> int:  # noqa: ARG002 - any audio
        """See BaseModel: the decoder's positions that the prompt leaves."""
        return self._positions - len(prompt)

    def clock(self, frames: int) -> Clock:
        """See BaseModel."""
        return Clock(self.window.duration_s / frames)

    @torch.no_grad()
    def listen(
        self, encoded: torch.Tensor, prompts: Sequence[Sequence[int]], said: Sequence[Sequence[int]]
    ) -> list[Listening]:
        """See BaseModel. The weights are those of the alignment heads."""
        rows = [[*prompt, *words, self.tokens.eos] for prompt, words in zip(prompts, said, strict=True)]
        with WatchedDecoder(self.network, encoded, self._heads) as decoder:
            seen = decoder.watch(rows)
        return [
            Listening(weights, len(prompt) - 1, scores[len(prompt) - 1 :])
            for prompt, (weights, scores) in zip(prompts, seen, strict=True)
        ]

    def no_speech(self, encoded: torch.Tensor) -> list[float]:
        """See BaseModel: the probability of <|nospeech|> at the beginning of a prompt."""
        with torch.no_grad(), WhisperDecoder(self.network, encoded) as decoder:
            scores = decoder.read([[self.tokens.sos]] * len(encoded))
        found: list[float] = scores[:, self.tokens.no_speech].exp().tolist()
        return found

    def with_network(self, name: str, network: WhisperForConditionalGeneration) -> WhisperModel:
        """See BaseModel."""
        return WhisperModel(name, network, self.files, device=self.device)

    def empty_network(self) -> WhisperForConditionalGeneration:
        """See BaseModel."""
        return build_network(self.files.json(CONFIG), self.files.json(GENERATION))

    def export(self, folder: Path) -> tuple[Path, Path]:
        """Write a folder that transformers loads: the checkpoint's small files, and the weights in float32.

        Raises:
            BaseModelError: the network has changed since loading (adapted, trained, or cast to bfloat16).
        """
        check_unchanged(self.name, self.digest, self._digest(self.network))
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.texts.items():
            (folder / name).write_bytes(content)
        tied = {OUTPUT} if self.network.config.tie_word_embeddings else set()
        state = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
            if name not in tied
        }
        save_tensors(state, folder / WEIGHTS, metadata={"format": "pt"})
        return folder / CONFIG, folder / WEIGHTS

    def _digest(self, network: WhisperForConditionalGeneration) -> str:
        config = network.config.to_dict()
        rules = self._rules
        return digest_of(
            {
                "format": _DIGEST_FORMAT,
                "family": "whisper",
                "tensors": state_entries(network.state_dict()),
                "options": {name: config.get(name) for name in _OPTIONS},
                "features": vars(self._features.config),
                "tokens": sha256(repr(self.tokens.content).encode()),
                "controls": [self.tokens.sos, self.tokens.eos, self.tokens.sop, self.tokens.notime],
                "languages": list(self.tokens.languages.items()),
                "rules": rules.content(),
                "heads": self._heads,
            }
        )


def _alignment_heads(generation: Any, config: Any) -> list[tuple[int, int]]:
    """Return (layer, head) of the heads that follow the speech.

    Where generation_config.json names none: all heads of the later half of the layers, as in OpenAI's code.
    """
    layers, heads = int(config.decoder_layers), int(config.decoder_attention_heads)
    named = generation.get("alignment_heads")
    if not named:
        return [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
    found = sorted((int(layer), int(head)) for layer, head in named)
    if any(not (0 <= layer < layers and 0 <= head < heads) for layer, head in found):
        raise BaseModelError(f"alignment_heads in {GENERATION} name heads the model lacks")
    return found
