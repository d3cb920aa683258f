"""Phoneme alignments from espeak-ng for the start of owsm-nano's training.

    python -m recipes.espeak.phonemes --corpus data/espeak/adult-train

Writes ``phonemes.jsonl`` beside the manifests: {"id", "phonemes": [[mnemonic, start_ms], ...]}.
Calls the library, not the command, since only its events have times (speak_lib.h).
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import json
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recipes.espeak.speak import Speaker, speaking_rate, utterance
from recipes.espeak.voices import data_folder
from ssvd_asr.parser import CommandParser

_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1
_RATE, _PITCH = 1, 3
_CHARS_UTF8, _PHONEMES, _END_PAUSE = 1, 0x100, 0x1000  # _PHONEMES: [[...]] holds mnemonics, not text
_EVENT_END, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Aligner:
    """The espeak-ng library. It has global state, so use one Aligner at a time."""

    def __init__(self, data: Path) -> None:
        self._lib = ctypes.CDLL(ctypes.util.find_library("espeak-ng") or "libespeak-ng.so.1")
        if self._lib.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _PHONEME_EVENTS) < 0:
            raise RuntimeError("espeak-ng's library did not start")
        self._found: list[tuple[str, int]] = []
        self._words: list[tuple[int, int]] = []
        self._samples = 0
        self._callback = _CALLBACK(self._collect)  # kept alive: the library holds only a pointer
        self._lib.espeak_SetSynthCallback(self._callback)

    def _collect(self, _: Any, samples: int, events: Any) -> int:
        self._samples += samples
        i = 0
        while events[i].type != _EVENT_END:
            if events[i].type == _EVENT_PHONEME:
                self._found.append((events[i].id.string.decode(), events[i].audio_position))
            elif events[i].type == _EVENT_WORD:
                self._words.append((events[i].text_position - 1, events[i].audio_position))
            i += 1
        return 0

    def align(self, text: str, speaker: Speaker) -> list[tuple[str, int]]:
        """Return (mnemonic, start in ms) of every phoneme; an empty mnemonic is a pause."""
        self._speak(text, speaker, _CHARS_UTF8 | _END_PAUSE)
        return self._found

    def words(self, text: str, speaker: Speaker) -> tuple[list[tuple[int, int]], int]:
        """Return (place in the text, start in ms) of every word event, and the samples spoken.

        Phoneme mnemonics in the text stand in double square brackets. espeak-ng speaks some pairs of words as
        one, which has one event.
        """
        self._speak(text, speaker, _CHARS_UTF8 | _PHONEMES | _END_PAUSE)
        return self._words, self._samples

    def _speak(self, text: str, speaker: Speaker, flags: int) -> None:
        self._found, self._words, self._samples = [], [], 0
        voice = f"{speaker.accent}+{speaker.variant}".encode()
        if self._lib.espeak_SetVoiceByName(voice) != 0:
            raise RuntimeError(f"espeak-ng has no voice {voice.decode()}")
        self._lib.espeak_SetParameter(_RATE, speaking_rate(speaker), 0)
        self._lib.espeak_SetParameter(_PITCH, speaker.pitch, 0)
        data = text.encode() + b"\0"
        self._lib.espeak_Synth(data, len(data), 0, 1, 0, flags, None, None)


_aligner: tuple[Path, Aligner] | None = None


def _align(name: str) -> str:
    global _aligner
    domain, split, index = name.rsplit("-", 2)
    text, speaker = utterance(domain, split, int(index))
    data = data_folder(speaker.variant)
    if _aligner is None or _aligner[0] != data:
        _aligner = data, Aligner(data)
    if speaker.tract_scale != 1.0:
        raise ValueError(f"{name}: only unscaled voices are aligned")
    return json.dumps({"id": name, "phonemes": _aligner[1].align(text, speaker)})


def main(argv: list[str] | None = None) -> int:
    """Align the utterances of ``--corpus``'s manifests, up to ``--longest-s``."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--longest-s", type=float, default=5.0, help="only utterances up to this length")
    args = parser.parse_args(argv)
    lines = [line for path in sorted(args.corpus.glob("manifest*.jsonl")) for line in path.open()]
    entries = [json.loads(line) for line in lines]
    names = [entry["id"] for entry in entries if entry["duration_s"] <= args.longest_s]
    with (
        multiprocessing.get_context("spawn").Pool(2) as pool,
        (args.corpus / "phonemes.jsonl").open("w") as file,
    ):
        for line in tqdm(pool.imap(_align, names, chunksize=50), total=len(names), unit="utt"):
            file.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
