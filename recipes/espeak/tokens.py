"""Token list of owsm-nano in OWSM's layout: specials, times, BPE pieces, <sos>, <eos> and <sop>."""

from __future__ import annotations

import random
from pathlib import Path

import sentencepiece as spm

from recipes.espeak.grammar import Grammar
from recipes.espeak.speak import split_of

BPE_PIECES = 500
WINDOW_S = 15.0
TIME_STEP_S = 0.02
SPECIALS = ["<blank>", "<unk>", "<na>", "<nospeech>", "<eng>", "<asr>", "<notimestamps>"]


def train_bpe(folder: Path, sentences: int = 40_000) -> None:
    """Train ``folder/bpe.model`` on training-split sentences of the grammar."""
    grammar = Grammar(random.Random("bpe"))
    text = folder / "bpe.txt"
    drawn = (grammar.sentence() for _ in range(sentences))
    text.write_text("\n".join(s for s in drawn if split_of(s) == "train"), encoding="utf-8")
    spm.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "bpe"),
        model_type="bpe",
        vocab_size=BPE_PIECES,
        bos_id=-1,
        eos_id=-1,
        unk_id=0,
        num_threads=1,
        minloglevel=2,
    )
    text.unlink()
    (folder / "bpe.vocab").unlink()


def token_list(bpe_model: Path) -> list[str]:
    """Return all symbols in the order of the model's output layer."""
    pieces = spm.SentencePieceProcessor(model_file=str(bpe_model))
    steps = round(WINDOW_S / TIME_STEP_S)
    times = [f"<{i * TIME_STEP_S:.2f}>" for i in range(steps + 1)]
    spoken = [pieces.id_to_piece(i) for i in range(1, pieces.get_piece_size())]
    return [*SPECIALS, *times, *spoken, "<sos>", "<eos>", "<sop>"]
