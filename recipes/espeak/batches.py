"""Batches for training owsm-nano, with lengths up to the full window, noise and level changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece as spm
import soundfile as sf
import torch

from recipes.espeak.speak import SAMPLE_RATE
from recipes.espeak.tokens import TIME_STEP_S, WINDOW_S

MAX_PHONEMES = 120  # classes; espeak-ng uses about 60 for two accents
FRAME_S = 0.08  # of the encoder: conv2d8 on a hop of 10 ms
PAUSE_S = 0.12  # between joined utterances; espeak-ng adds silence at the end of each
LONGEST_ROW_S = 14.5
HALVES_S = (0.05, 0.09)  # centres of a frame's halves: the convolutions see 15 feature frames from its start


@dataclass(frozen=True)
class Entry:
    """One utterance of a manifest."""

    audio: Path
    text: str
    duration_s: float
    phonemes: tuple[tuple[int, int], ...] = ()  # (phoneme, start in ms), if aligned


Row = tuple[Entry, ...]  # spoken one after another


@dataclass(frozen=True)
class Batch:
    """The arguments of ``ESPnetS2TModel.forward``, before the front end."""

    speech: torch.Tensor  # (B, samples), padded with zeros as Speech2Text pads
    text: torch.Tensor  # (B, L), -1 padded: <eng> <asr> (<notimestamps> | times) pieces
    text_lengths: torch.Tensor
    text_ctc: torch.Tensor  # (B, L), -1 padded: pieces
    text_ctc_lengths: torch.Tensor
    phonemes: torch.Tensor  # (B, T, 2): phoneme of each half frame, 0 in silence, -1 if unknown


def read_manifests(folder: Path) -> list[Entry]:
    """Read ``folder/manifest*.jsonl``, with each utterance's phonemes if ``phonemes.jsonl`` has them.

    Raises ValueError if there are MAX_PHONEMES or more phonemes.
    """
    aligned: dict[str, tuple[tuple[int, int], ...]] = {}
    if (alignment := folder / "phonemes.jsonl").exists():
        spoken = [json.loads(line) for line in alignment.open(encoding="utf-8")]
        names = sorted({name for entry in spoken for name, _ in entry["phonemes"] if name.strip("_:")})
        ids = {name: i for i, name in enumerate(names, 1)}
        if len(ids) >= MAX_PHONEMES:
            raise ValueError(f"{alignment} names {len(ids)} phonemes; MAX_PHONEMES is {MAX_PHONEMES}")
        aligned = {e["id"]: tuple((ids.get(name, 0), ms) for name, ms in e["phonemes"]) for e in spoken}
    lines = [line for path in sorted(folder.glob("manifest*.jsonl")) for line in path.open(encoding="utf-8")]
    entries = [json.loads(line) for line in lines]
    return [Entry(folder / e["audio"], e["text"], e["duration_s"], aligned.get(e["id"], ())) for e in entries]


def join(entries: list[Entry], share: float, rng: np.random.Generator) -> list[Row]:
    """Return a row for each of ``entries``, except ``share`` of them, which are joined in rows of several."""
    rows: list[Row] = []
    joined: Row = ()
    for i in rng.permutation(len(entries)):
        if rng.random() >= share:
            rows.append((entries[i],))
        elif joined and row_s((*joined, entries[i])) > LONGEST_ROW_S:
            rows.append(joined)
            joined = (entries[i],)
        else:
            joined = (*joined, entries[i])
            if rng.random() < 0.4:
                rows.append(joined)
                joined = ()
    return [*rows, joined] if joined else rows


def row_s(row: Row) -> float:
    """Return the seconds of ``row``: its utterances and the pauses between them."""
    return sum(entry.duration_s for entry in row) + PAUSE_S * (len(row) - 1)


def plan(rows: list[Row], seconds: float, longest_s: float, rng: np.random.Generator) -> list[list[Row]]:
    """Return one epoch of batches of at most ``seconds`` of padded audio, similar lengths together.

    Rows longer than ``longest_s`` are left out.
    """
    chosen = [(row_s(row), row) for row in rows if row_s(row) <= longest_s]
    keys = np.array([duration_s for duration_s, _ in chosen]) * rng.uniform(0.8, 1.25, len(chosen))
    batches: list[list[Row]] = [[]]
    longest = 0.0
    for duration_s, row in (chosen[i] for i in np.argsort(keys)):
        longest = max(longest, duration_s)
        if batches[-1] and longest * (len(batches[-1]) + 1) > seconds:
            batches.append([])
            longest = duration_s
        batches[-1].append(row)
    return [batches[i] for i in rng.permutation(len(batches))]


def collate(
    rows: list[Row],
    bpe: spm.SentencePieceProcessor,
    ids: dict[str, int],
    rng: np.random.Generator,
    seconds: float,
    padded_share: float,
) -> Batch:
    """Read, join, shift, disturb and pad one batch. Rows beyond ``seconds`` of padded audio are left out.

    ``padded_share`` of the batches are padded to the window or to a random length below it, the others by
    0.3 s.
    """
    longest_s = max(map(row_s, rows))
    padded_s = longest_s + 0.3
    if rng.random() < padded_share:
        padded_s = float(rng.choice([WINDOW_S, rng.uniform(longest_s, WINDOW_S)]))
    padded_s = min(padded_s, WINDOW_S)
    rows = rows[: max(1, int(seconds / padded_s))]
    speech = np.zeros((len(rows), round(padded_s * SAMPLE_RATE)), dtype=np.float32)
    texts, texts_ctc = [], []
    phonemes = torch.full((len(rows), round(padded_s / FRAME_S), 2), -1)
    for row, spoken, entries in zip(speech, phonemes, rows, strict=True):
        wave, starts_s = read_row(entries, len(row))
        room = min(len(row) - len(wave), SAMPLE_RATE)
        shift = int(rng.integers(room + 1)) // int(TIME_STEP_S * SAMPLE_RATE)
        start = shift * int(TIME_STEP_S * SAMPLE_RATE)
        row[start : start + len(wave)] = wave
        disturb(row, rng)
        pieces = [ids[p] for p in bpe.encode(" ".join(e.text for e in entries), out_type=str)]
        if all(entry.phonemes for entry in entries):
            for entry, start_s in zip(entries, starts_s, strict=True):
                fill_phonemes(spoken, start / SAMPLE_RATE + start_s, entry.phonemes)
        zero = ids["<0.00>"]
        end = zero + min(round(WINDOW_S / TIME_STEP_S), shift + round(len(wave) / SAMPLE_RATE / TIME_STEP_S))
        timed = [zero + shift, *pieces, end] if rng.random() < 0.5 else [ids["<notimestamps>"], *pieces]
        texts.append(torch.tensor([ids["<eng>"], ids["<asr>"], *timed]))
        texts_ctc.append(torch.tensor(pieces))
    pad = torch.nn.utils.rnn.pad_sequence
    return Batch(
        torch.from_numpy(speech),
        pad(texts, batch_first=True, padding_value=-1),
        torch.tensor([len(t) for t in texts]),
        pad(texts_ctc, batch_first=True, padding_value=-1),
        torch.tensor([len(t) for t in texts_ctc]),
        phonemes,
    )


def read_row(entries: Row, samples: int) -> tuple[np.ndarray, list[float]]:
    """Return the waveform of ``entries``, cut to ``samples``, and the start of each entry in seconds."""
    waves: list[np.ndarray] = []
    starts_s: list[float] = []
    for entry in entries:
        if waves:
            waves.append(np.zeros(round(PAUSE_S * SAMPLE_RATE), dtype=np.float32))
        starts_s.append(sum(map(len, waves)) / SAMPLE_RATE)
        waves.append(sf.read(entry.audio, dtype="float32")[0])
    return np.concatenate(waves)[:samples], starts_s


def fill_phonemes(frames: torch.Tensor, start_s: float, phonemes: tuple[tuple[int, int], ...]) -> None:
    """Write the phonemes from ``start_s`` on into ``frames`` (T, 2), and silence into unset frames before."""
    starts_s = np.array([ms / 1000 for _, ms in phonemes])
    spoken = np.array([0, *(phoneme for phoneme, _ in phonemes)])
    centres_s = np.arange(len(frames))[:, None] * FRAME_S + np.array(HALVES_S) - start_s
    heard = torch.from_numpy(spoken[np.searchsorted(starts_s, centres_s, side="right")])
    frames[:] = torch.where(torch.from_numpy(centres_s >= 0) | (frames < 0), heard, frames)


def disturb(row: np.ndarray, rng: np.random.Generator) -> None:
    """Change the level of ``row`` (samples,) and, for most rows, add noise of 10 to 45 dB SNR."""
    row *= np.float32(10 ** rng.uniform(-0.4, 0.3))
    if rng.random() < 0.6:
        noise = rng.standard_normal(len(row), dtype=np.float32)
        if rng.random() < 0.5:  # a first-order low pass: room hum instead of hiss
            noise[1:] = noise[1:] + 0.95 * noise[:-1]
        power = float(np.square(row).sum()) / max(1, int(np.count_nonzero(row)))
        scale = np.sqrt(power * 10 ** (-rng.uniform(1.0, 4.5)) / float(np.square(noise).mean()))
        row += noise * np.float32(scale)
