"""The ways to transcribe with one Whisper that benchmarks.whisper_speed compares, all greedy.

A side takes waves (samples,) at 16 kHz and the code of each one's language, and returns their texts. `batch`
decodes at most a window each, together; `recording` takes one of any length, as that side does for its users.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from benchmarks.subject import stand_in
from ssvd_asr.adapted_model import AdaptedModel, adapt
from ssvd_asr.audio.segment import find_spans
from ssvd_asr.base.load import load_base
from ssvd_asr.base.model import BaseModel
from ssvd_asr.base.prompt import Prompt
from ssvd_asr.base.whisper.languages import ISO_639_3
from ssvd_asr.base.window import FloatArray
from ssvd_asr.basis.layers import match_layers
from ssvd_asr.decoding.options import GREEDY
from ssvd_asr.mixing.core_stack import CoreStack
from ssvd_asr.transcription import transcribe
from ssvd_asr.writing import joined_texts

RECORDING_BATCH = 8  # pieces of a recording that are decoded together, where a side does so
CORE_SCALE = 1e-3  # of the random cores: small, so that the domains say about what the base says
CONVERTED = (
    "tokenizer.json",
    "preprocessor_config.json",
)  # files that faster-whisper reads beside the weights


class Side(Protocol):
    """A way to transcribe."""

    def batch(self, waves: Sequence[FloatArray], codes: Sequence[str]) -> list[str]:
        """Return the texts of waves that are decoded together."""
        ...

    def recording(self, wave: FloatArray, code: str) -> str:
        """Return the text of a recording of any length."""
        ...


class Ours:
    """This project's base; with `domains`, each row of a batch by a domain of its own, in turns."""

    def __init__(self, folder: Path, *, dtype: str = "float32", domains: int = 0, p: float = 0.4) -> None:
        """Load the base, and make random domains with k = int(p min(m, n)) directions in each layer."""
        self.base: BaseModel = load_base(folder, device="cpu", dtype=dtype)
        self._domains = domains
        self._adapted: AdaptedModel | None = None
        self._stack: CoreStack | None = None
        if domains:
            self._adapted, self._stack = _random_domains(self.base, domains, p)

    def batch(self, waves: Sequence[FloatArray], codes: Sequence[str]) -> list[str]:
        """See Side."""
        rows = None if self._stack is None else [1 + row % self._domains for row in range(len(waves))]
        prompts = [Prompt(f"<{ISO_639_3[code]}>") for code in codes]
        found = transcribe(
            self.base, waves, adapted=self._adapted, stack=self._stack, rows=rows, prompts=prompts,
            options=GREEDY,
        )  # fmt: skip
        return [each.text for each in found]

    def recording(self, wave: FloatArray, code: str) -> str:
        """See Side: cut at silences as the server cuts, and decoded in batches."""
        window = self.base.window
        spans = find_spans(
            wave, window.longest_piece_samples, context_samples=window.context_samples,
            join=window.bears_silences,
        )  # fmt: skip
        pieces = [wave[span.start : span.stop] for span in spans]
        texts: list[str] = []
        for first in range(0, len(pieces), RECORDING_BATCH):
            chosen = pieces[first : first + RECORDING_BATCH]
            texts += self.batch(chosen, [code] * len(chosen))
        return joined_texts(texts)


def _random_domains(base: BaseModel, domains: int, p: float) -> tuple[AdaptedModel, CoreStack]:
    linears = match_layers(base.network, base.linears)
    k = {name: int(p * min(linear.weight.shape)) for name, linear in linears.items()}
    factors = {
        name: stand_in(linear.out_features, linear.in_features, k[name], device=base.device)
        for name, linear in linears.items()
    }
    adapted = adapt(base.network, factors)
    stack = CoreStack(adapted.layers, domains + 1, k)
    generator = torch.Generator().manual_seed(7)
    for slot in range(1, domains + 1):
        cores = {name: CORE_SCALE * torch.randn(size, size, generator=generator) for name, size in k.items()}
        stack.write(slot, cores)
    return adapted, stack


class Transformers:
    """transformers' feature extractor and `generate`; recordings by its own sequential algorithm."""

    def __init__(self, folder: Path) -> None:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        self._processor = WhisperProcessor.from_pretrained(folder)
        network = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        self._network: Any = network.eval()

    def batch(self, waves: Sequence[FloatArray], codes: Sequence[str]) -> list[str]:
        """See Side."""
        return self._texts(waves, language=list(codes))

    def recording(self, wave: FloatArray, code: str) -> str:
        """See Side."""
        options = {"truncation": False, "padding": "longest", "return_attention_mask": True}
        (text,) = self._texts([wave], options, language=code, return_timestamps=True)
        return text

    def _texts(
        self, waves: Sequence[FloatArray], options: dict[str, Any] | None = None, **asked: Any
    ) -> list[str]:
        heard = self._processor(list(waves), sampling_rate=16_000, return_tensors="pt", **(options or {}))
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids = self._network.generate(**heard, task="transcribe", do_sample=False, num_beams=1, **asked)
        texts: list[str] = self._processor.batch_decode(ids, skip_special_tokens=True)
        return texts


class FasterWhisper:
    """faster-whisper on CTranslate2, in one thread."""

    def __init__(self, converted: Path, compute_type: str, *, batched: bool = False) -> None:
        """Load a converted model. `batched`: recordings by its detector and in batches, else one by one."""
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        self._model: Any = WhisperModel(
            str(converted), device="cpu", compute_type=compute_type, cpu_threads=1, num_workers=1
        )
        self._pipeline: Any = BatchedInferencePipeline(self._model) if batched else None

    def batch(self, waves: Sequence[FloatArray], codes: Sequence[str]) -> list[str]:
        """See Side: its features and its encoder and decoder, in the batch that the others get."""
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.tokenizer import Tokenizer

        model = self._model
        features = np.stack([pad_or_trim(model.feature_extractor(wave)) for wave in waves])
        readers = [Tokenizer(model.hf_tokenizer, True, task="transcribe", language=code) for code in codes]
        prompts = [model.get_prompt(reader, [], without_timestamps=True) for reader in readers]
        found = model.model.generate(model.encode(features), prompts, beam_size=1, max_length=448)
        return [
            reader.decode(each.sequences_ids[0]).strip() for reader, each in zip(readers, found, strict=True)
        ]

    def recording(self, wave: FloatArray, code: str) -> str:
        """See Side."""
        options = {"language": code, "beam_size": 1, "temperature": 0.0, "condition_on_previous_text": False}
        if self._pipeline is not None:
            segments, _ = self._pipeline.transcribe(wave, batch_size=RECORDING_BATCH, **options)
        else:
            segments, _ = self._model.transcribe(wave, **options)
        return " ".join(segment.text.strip() for segment in segments)


def use_faster_whisper(environment: Path) -> None:
    """Make the packages of a virtual environment importable, after our own."""
    (packages,) = environment.glob("lib/python3*/site-packages")
    sys.path.append(str(packages))


def convert(folder: Path, target: Path) -> Path:
    """Convert a checkpoint for CTranslate2 by its own converter, and return the target."""
    command = "import sys; from ctranslate2.converters.transformers import main; main()"
    packages = f"import sys; sys.path.append({sys.path[-1]!r}); {command}"
    words = ["--model", str(folder), "--output_dir", str(target), "--copy_files", *CONVERTED]
    subprocess.run([sys.executable, "-c", packages, *words], check=True)
    return target
