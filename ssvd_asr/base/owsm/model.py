"""OWSM as a base model: ESPnet's network, its tokens and its digest. See ssvd_asr.base.model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ssvd_asr.base import voice
from ssvd_asr.base.learner import Learner
from ssvd_asr.base.model import Decoder
from ssvd_asr.base.owsm.config import ModelConfig
from ssvd_asr.base.owsm.digest import base_digest
from ssvd_asr.base.owsm.fast_encoder import middle_output, whole_windows
from ssvd_asr.base.owsm.grammar import forbid
from ssvd_asr.base.owsm.learner import OwsmLearner
from ssvd_asr.base.owsm.network import build_network
from ssvd_asr.base.owsm.probe import ESPNET_PROBE
from ssvd_asr.base.owsm.static_decoder import open_decoder
from ssvd_asr.base.owsm.tokens import TokenMap
from ssvd_asr.base.probe import Probe
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.window import Clock, FloatArray, Window
from ssvd_asr.basis.layers import DEFAULT_PATTERNS

if TYPE_CHECKING:
    from espnet2.s2t.espnet_model import ESPnetS2TModel
    from torch import nn

EMBEDDING = "decoder.embed.0"  # of the decoder's tokens, in ESPnet's network


class OwsmModel:
    """ESPnet S2T model in evaluation mode, with no gradients.

    Attributes:
        name: the name that it was loaded by, for people; `digest` identifies it.
        digest: "sha256:..." of its content (see base/digest.py), fixed at loading.
        network: ESPnet's own module; adapting it in place changes neither its weights nor the digest.
        config, tokens: its config.yaml and its vocabulary.
        device, dtype: device of the network, and dtype of encoder, decoder and CTC head. The front end and
            the normalisation stay float32: a power spectrum does not fit into 8 bits of mantissa.
    """

    family = "OWSM"
    linears = DEFAULT_PATTERNS
    embedding: str | None = EMBEDDING
    length_penalty: float | None = None
    searches: tuple[str, ...] = ("checked", "greedy", "beam", "ctc")
    _cast_parts: tuple[str, ...] = ("encoder", "decoder", "ctc")

    def __init__(
        self,
        name: str,
        network: ESPnetS2TModel,
        config: ModelConfig,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Compute the digest of a float32 network, freeze it, then move and cast it in place."""
        self.name = name
        self.config = config
        self.knows_previous_text = config.knows_previous_text
        self.tokens = TokenMap(config)
        self.digest = base_digest(network, config, self.tokens)
        self.device = device if device is not None else torch.device("cpu")
        self.dtype = dtype
        network.requires_grad_(False).eval().to(self.device)
        for each in self._cast_parts:
            if (part := getattr(network, each)) is not None:
                part.to(dtype)
        self.network = network

    @cached_property
    def window(self) -> Window:
        """See BaseModel."""
        return self.config.window

    @property
    def ctc_head(self) -> nn.Linear | None:
        """See BaseModel."""
        ctc = self.network.ctc
        return None if ctc is None else ctc.ctc_lo

    @property
    def probe(self) -> Probe:
        """See BaseModel."""
        return ESPNET_PROBE

    @property
    def learner(self) -> Learner:
        """See BaseModel."""
        return OwsmLearner(self.network)

    @torch.no_grad()
    def encode(
        self,
        waves: Sequence[FloatArray],
        prompts: Sequence[Prompt] | None = None,  # noqa: ARG002 - the decoder reads them
    ) -> torch.Tensor:
        """Return encoder output (B, T, d) in `dtype` for B waves (samples,), float32 at 16 kHz.

        Every wave is padded with zeros to the whole window, and the silence is encoded too, as in training
        and in Speech2Text. So T is the same for every input.

        Raises:
            AudioTooLongError: a wave is longer than the window.
            AudioError: there are no waves, or one is not a vector.
            RuntimeError: the network is in training mode, where dropout would change the words.
        """
        self._check_mode()
        # network.encode(), but with a cast between the float32 front end and the encoder.
        feats, lengths = self._features(self.window.padded(waves, self.name, self.device))
        with whole_windows(self.network.encoder):
            encoded, _, _ = self.network.encoder(feats.to(self.dtype), lengths)
        # With intermediate CTC the encoder also returns its layers' outputs.
        output: torch.Tensor = encoded[0] if isinstance(encoded, tuple) else encoded
        return output

    def _check_mode(self) -> None:
        if self.network.training:
            raise RuntimeError("the base network is in training mode: call network.eval() before decoding")

    def _features(self, speech: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (B, frames, mels) and their numbers (B,) of speech (B, samples) without padding."""
        lengths = torch.full((len(speech),), speech.size(1), dtype=torch.long, device=self.device)
        feats, lengths = self.network.frontend(speech, lengths)
        if self.network.normalize is not None:
            feats, lengths = self.network.normalize(feats, lengths)
        return feats, lengths

    @property
    def voice_probe(self) -> str:
        """See BaseModel."""
        return f"{self.family.lower()}-{self._middle}-of-{len(self.network.encoder.encoders)}"

    @torch.no_grad()
    def voice_points(self, waves: Sequence[FloatArray]) -> torch.Tensor:
        """See BaseModel. Each wave is encoded alone and unpadded, through half of the layers."""
        return voice.points([voice.point(self._half_encoded(wave)) for wave in waves])

    @property
    def _middle(self) -> int:
        return (len(self.network.encoder.encoders) + 1) // 2

    def _half_encoded(self, wave: FloatArray) -> torch.Tensor:
        """Return the middle layer's output (frames, d) of the beginning of a wave."""
        feats, lengths = self._features(voice.heard(wave, self.window).to(self.device))
        with middle_output(self.network.encoder.encoders[self._middle - 1]) as made:
            self.network.encoder(feats.to(self.dtype), lengths, max_layer=self._middle)
        return made[0][0]

    def open_decoder(self, encoded: torch.Tensor, *, width: int = 1) -> AbstractContextManager[Decoder]:
        """See BaseModel. On a GPU its steps are recorded where the layers allow it."""
        return open_decoder(self.network.decoder, encoded, width=width)

    def forbid(
        self, scores: torch.Tensor, prefixes: Sequence[Sequence[int]], last_times: Sequence[int | None]
    ) -> None:
        """See BaseModel: the rules of ESPnet's ScoreFilter."""
        forbid(scores, prefixes, self.tokens, last_times)

    def most_tokens(self, prompt: Sequence[int], frames: int) -> int:  # noqa: ARG002 - any prompt
        """See BaseModel: one token a frame, as with Speech2Text's maxlenratio of 0."""
        return frames

    def clock(self, frames: int) -> Clock:
        """See BaseModel."""
        hop_s = self.network.frontend.hop_length / self.config.sample_rate_hz
        # Convolutions without padding lose a frame or two at the edges, so the quotient is not whole.
        features = round(self.config.window_s / hop_s / frames)
        return Clock(features * hop_s, self.config.word_start_shift_s, self.config.word_end_shift_s)

    def listen(self, *_: object) -> None:
        """See BaseModel: words are aligned by the CTC head."""

    def no_speech(self, encoded: torch.Tensor) -> None:
        """See BaseModel: OWSM does not tell."""

    def with_network(self, name: str, network: ESPnetS2TModel) -> OwsmModel:
        """See BaseModel."""
        return type(self)(name, network, self.config, device=self.device)

    def empty_network(self) -> ESPnetS2TModel:
        """See BaseModel."""
        return build_network(self.config)

    def export(self, folder: Path) -> tuple[Path, Path]:
        """See BaseModel and ssvd_asr.base.owsm.export."""
        from ssvd_asr.base.owsm.export import export_espnet

        return export_espnet(self, folder)
