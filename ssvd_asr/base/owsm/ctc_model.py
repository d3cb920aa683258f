"""OWSM-CTC as a base model: its encoder reads the prompt, its CTC head says the words. See BaseModel.

The prompt's language and task take the first two frames of the encoder, and a previous text is read by an
encoder of its own. The words are those of ssvd_asr.decoding.best_path, as in ESPnet's Speech2Text.best_path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ssvd_asr.base import voice
from ssvd_asr.base.learner import Learner
from ssvd_asr.base.owsm.ctc_learner import OwsmCtcLearner
from ssvd_asr.base.owsm.ctc_network import build_ctc_network
from ssvd_asr.base.owsm.ctc_probe import ESPNET_CTC_PROBE
from ssvd_asr.base.owsm.fast_encoder import middle_output
from ssvd_asr.base.owsm.model import OwsmModel
from ssvd_asr.base.probe import Probe
from ssvd_asr.base.prompt import IDENTIFIED, Prompt
from ssvd_asr.base.window import Clock, FloatArray
from ssvd_asr.errors import SsvdError

if TYPE_CHECKING:
    from espnet2.s2t.espnet_ctc_model import ESPnetS2TCTCModel

TOLD = 2  # frames before those of the audio: language and task
_NO_LANGUAGE = ("<nolang>", "<unk>")  # what ESPnet looks for where the config names no symbol


class OwsmCtcModel(OwsmModel):
    """ESPnet S2T-CTC model in evaluation mode, with no gradients. The attributes are OwsmModel's."""

    family = "OWSM-CTC"
    searches: tuple[str, ...] = ("ctc",)
    embedding: str | None = None  # of prompts only
    _cast_parts = ("encoder", "prompt_encoder", "embed", "embed_proj", "prompt_proj", "ctc")

    @property
    def probe(self) -> Probe:
        """See BaseModel."""
        return ESPNET_CTC_PROBE

    @property
    def learner(self) -> Learner:
        """See BaseModel."""
        return OwsmCtcLearner(self.network)

    @torch.no_grad()
    def encode(self, waves: Sequence[FloatArray], prompts: Sequence[Prompt] | None = None) -> Tensor:
        """See BaseModel. Every wave is padded with zeros to the whole window, as in training.

        Raises:
            AudioTooLongError, AudioError, RuntimeError: as in OwsmModel.encode.
            SsvdError: there is not one prompt for each wave, or the model lacks a language or task.
        """
        self._check_mode()
        told = [Prompt(IDENTIFIED)] * len(waves) if prompts is None else prompts
        if len(told) != len(waves):
            raise SsvdError(f"{len(told)} prompts for {len(waves)} waves: need one for each")
        speech = self.window.padded(waves, self.name, self.device)
        output = self._encoded(speech, told)
        assert isinstance(output, Tensor)
        return output

    def _encoded(self, speech: Tensor, prompts: Sequence[Prompt], layers: int | None = None) -> Tensor:
        """Return encoder output (B, TOLD + T, d) of speech (B, samples), through so many layers or all."""
        network = self.network
        previous = [torch.tensor(self._previous(prompt)) for prompt in prompts]
        lengths = torch.tensor([len(ids) for ids in previous], device=self.device)
        texts = pad_sequence(previous, batch_first=True, padding_value=self.tokens.eos).to(self.device)
        memory, lengths, _ = network.prompt_encoder(network.pos_enc(network.embed(texts)), lengths)
        heard = torch.arange(memory.size(1), device=self.device) < lengths.unsqueeze(1)  # (B, P)
        told = torch.tensor([self._told(prompt) for prompt in prompts], device=self.device)
        feats, frames = self._features(speech)
        encoded, _, _ = network.encoder(
            feats.to(self.dtype),
            frames,
            ctc=network.ctc,
            max_layer=layers,
            prefix_embeds=network.embed_proj(network.embed(told)),
            memory=network.prompt_proj(memory),
            memory_mask=heard.unsqueeze(1),
        )
        # With intermediate CTC the encoder also returns its layers' outputs.
        output: Tensor = encoded[0] if isinstance(encoded, tuple) else encoded
        return output

    def _told(self, prompt: Prompt) -> list[int]:
        """Return the ids of language and task. Raises SsvdError if the model lacks one."""
        if prompt.language != IDENTIFIED:
            return [self.tokens.id(prompt.language), self.tokens.id(prompt.task)]
        named = (self.config.nolang_symbol, *_NO_LANGUAGE)
        symbol = next(each for each in named if each in self.tokens.token_list)  # every model has <unk>
        return [self.tokens.id(symbol), self.tokens.id(prompt.task)]

    def _previous(self, prompt: Prompt) -> list[int]:
        """Return the ids of the previous text, or only "<na>" if there is none or it contains "<na>"."""
        ids = self.tokens.encode(prompt.previous_text) if prompt.previous_text is not None else []
        return [self.tokens.na] if not ids or self.tokens.na in ids else ids

    def _half_encoded(self, wave: FloatArray) -> Tensor:
        speech = voice.heard(wave, self.window).to(self.device)
        with middle_output(self.network.encoder.encoders[self._middle - 1]) as made:
            self._encoded(speech, [Prompt(IDENTIFIED)], self._middle)
        return made[0][0, TOLD:]

    def open_decoder(self, encoded: Tensor, *, width: int = 1) -> NoReturn:  # noqa: ARG002 - there is none
        """Raise SsvdError: there is no decoder."""
        raise SsvdError(f"base {self.name!r} has no decoder; search ctc finds its words")

    def clock(self, frames: int) -> Clock:
        """See BaseModel."""
        clock = super().clock(frames - TOLD)
        return Clock(clock.frame_s, clock.start_shift_s, clock.end_shift_s, lead_frames=TOLD)

    def empty_network(self) -> ESPnetS2TCTCModel:
        """See BaseModel."""
        return build_ctc_network(self.config)
