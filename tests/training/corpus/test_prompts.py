"""Targets are those of ESPnet's S2TPreprocessor, token for token and sample for sample."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from tests.random_owsm import SENTENCES
from training.corpus.prompts import PromptSymbols, Spoken, training_example, validation_example

TEXT = "the small boat turned"
SILENCE_S, WINDOW_S = 1.0, 3.0


@dataclass(frozen=True)
class Vocabulary:
    """Like OWSM's: prompt symbols are pieces of the BPE model, so that ESPnet can read them in a text."""

    tokens: list[str]
    bpe_file: Path
    pieces: sentencepiece.SentencePieceProcessor

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokens.index(piece) for piece in self.pieces.EncodeAsPieces(text))

    @property
    def symbols(self) -> PromptSymbols:
        index = self.tokens.index
        times = (index("<0.00>"), index(f"<{WINDOW_S:.2f}>"))
        return PromptSymbols(
            (index("<eng>"), index("<asr>")), index("<notimestamps>"), *times, index("<na>"), index("<unk>"),
            samples_per_tick=320, window_samples=round(WINDOW_S * 16_000),
        )  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Vocabulary:
    times = [f"<{step * 0.02:.2f}>" for step in range(round(WINDOW_S / 0.02) + 1)]
    special = ["<na>", "<eng>", "<asr>", "<notimestamps>", *times]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=len(special) + 60, num_threads=1,
        hard_vocab_limit=False, minloglevel=2, user_defined_symbols=special,
    )  # fmt: skip
    file = tmp_path_factory.mktemp("bpe") / "bpe.model"
    file.write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor()
    pieces.LoadFromSerializedProto(model.getvalue())
    words = [pieces.IdToPiece(i) for i in range(pieces.GetPieceSize()) if not pieces.IsControl(i)]
    words = [word for word in words if word not in special and word != "<unk>"]
    return Vocabulary(["<blank>", "<unk>", *special, *words, "<sos>", "<eos>", "<sop>"], file, pieces)


def espnet(vocabulary: Vocabulary, train: bool) -> Any:
    from espnet2.train.preprocessor import S2TPreprocessor

    return S2TPreprocessor(
        train=train,
        token_type="bpe",
        token_list=vocabulary.tokens,
        bpemodel=str(vocabulary.bpe_file),
        speech_length=WINDOW_S,
        speech_init_silence=SILENCE_S,
        last_time_symbol=f"<{WINDOW_S:.2f}>",
    )


@dataclass(frozen=True)
class Part:
    """A text and its place in a wave."""

    text: str
    start_s: float
    end_s: float


def written(*parts: Part) -> str:
    """As OWSM's data preparation writes utterances of one recording."""

    def time(seconds: float) -> str:
        return f"<{round(seconds / 0.02) * 0.02:.2f}>"

    return "<eng><asr>" + "".join(f"{time(p.start_s)} {p.text}{time(p.end_s)}" for p in parts)


@pytest.mark.parametrize(
    "parts",
    [
        *([Part(TEXT, 0, seconds)] for seconds in (0.5, 1.23, 2.0, 2.9999375, 3.0)),
        [Part(TEXT, 0, 0.611), Part("another chair", 0.741, 1.23)],
        [Part(TEXT, 0, 1.0), Part(TEXT, 1.0, 1.777), Part("window", 2.1, 2.53)],
    ],
    ids=lambda parts: " ".join(str(part.end_s) for part in parts),
)
def test_training_targets_and_audio_equal_those_of_s2t_preprocessor(
    vocabulary: Vocabulary, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = vocabulary.symbols
    preprocessor = espnet(vocabulary, train=True)
    wave = np.random.default_rng(0).uniform(-1, 1, round(parts[-1].end_s * 16_000)).astype(np.float32)
    row = [
        Spoken(vocabulary.encode(part.text), round(part.start_s * 16_000), round(part.end_s * 16_000))
        for part in parts
    ]
    said = {"text": written(*parts), "text_prev": "<na>", "text_ctc": " ".join(part.text for part in parts)}
    timed = 0
    for seed in range(20):
        theirs_rng = np.random.default_rng(seed)
        monkeypatch.setattr(np.random, "randint", lambda high, rng=theirs_rng: int(rng.integers(high)))
        monkeypatch.setattr(np.random, "uniform", lambda rng=theirs_rng: rng.uniform())
        theirs = preprocessor("id", {"speech": wave, **said})
        ours = training_example(
            wave,
            row,
            symbols,
            symbols.window_samples,
            initial_silence_samples=round(SILENCE_S * 16_000),
            timestamp_share=0.5,
            rng=np.random.default_rng(seed),
        )
        assert ours.text == theirs["text"].tolist()
        assert ours.text_ctc == theirs["text_ctc"].tolist()
        assert theirs["text_prev"].tolist()[-1] == symbols.na
        np.testing.assert_array_equal(ours.speech, theirs["speech"][:, 0])
        timed += symbols.notimestamps not in ours.text
    assert 0 < timed < 20  # both kinds were compared


def test_validation_targets_equal_those_of_s2t_preprocessor(vocabulary: Vocabulary) -> None:
    symbols = vocabulary.symbols
    wave = np.ones(20_000, np.float32)
    theirs = espnet(vocabulary, train=False)(
        "id", {"speech": wave, "text": written(Part(TEXT, 0, 1.25)), "text_prev": "<na>", "text_ctc": TEXT}
    )
    ours = validation_example(wave, vocabulary.encode(TEXT), symbols)
    assert ours.text == theirs["text"].tolist()
    np.testing.assert_array_equal(ours.speech, theirs["speech"][:, 0])


def test_times_never_pass_the_last_symbol(vocabulary: Vocabulary) -> None:
    """Half ticks of speech and of silence both round up: one tick more than the window has."""
    symbols = vocabulary.symbols
    ticks = symbols.last_time - symbols.first_time
    half = symbols.samples_per_tick // 2
    row = [Spoken((5,), 0, symbols.samples_per_tick + half)]
    target = symbols.target(row, timestamps=True, shift=ticks - 1)
    assert target[-1] == symbols.last_time
    assert target[2] == symbols.last_time - 1
