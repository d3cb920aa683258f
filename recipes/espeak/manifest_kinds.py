"""Manifests of every kind that `true_in` reads: those of many systems, and the faults of lists."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

SECONDS = 3.0  # of tone in a.wav
RATE_HZ = 16_000
Content = str | bytes

A = {"audio": "a.wav", "text": "one"}
WHOLE = "3.0 s: one"
SECOND = "1.0 s: one"  # the second one of a.wav


@dataclass(frozen=True)
class ManifestKind:
    """A manifest in a folder with its audio, and what a reader should make of it.

    Attributes:
        files: contents by name, beside a.wav (3 s of tone) and two.wav (2 s, the first channel silent).
        source: what is read: a name, or "." for the folder.
        used: seconds and text of each utterance that should be used.
        left_out: entries that should be left out with a reason.
        refused: whether all should be refused with a reason.
    """

    name: str
    files: Mapping[str, Content]
    source: str
    used: tuple[str, ...] = ()
    left_out: int = 0
    refused: bool = False

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ)
        two = np.stack([0 * tone, tone], axis=1)[: 2 * RATE_HZ]
        files: dict[str, Content] = {"a.wav": _wav(tone), "two.wav": _wav(two), **self.files}
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def manifest_kinds() -> Iterator[ManifestKind]:
    """Yield every kind of manifest."""
    yield from _json_fields()
    yield from _json_faults()
    yield from _encodings()
    yield from _paths()
    yield from _texts()
    yield from _tables()
    yield from _hugging_face()
    yield from _kaldi()
    yield from _lhotse()


def _json(
    name: str, *entries: Mapping[str, Any], used: tuple[str, ...] = (), left_out: int = 0
) -> ManifestKind:
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    return ManifestKind(name, {"m.jsonl": lines}, "m.jsonl", used, left_out)


def _one(name: str, source: str, content: Content, *used: str, left_out: int = 0) -> ManifestKind:
    return ManifestKind(name, {source: content}, source, used, left_out)


def _refused(name: str, source: str, content: Content) -> ManifestKind:
    return ManifestKind(name, {source: content}, source, refused=True)


def _json_fields() -> Iterator[ManifestKind]:
    """Fields by the names of several systems."""
    yield _json("`start_s`, `duration_s`", {**A, "start_s": 1, "duration_s": 1}, used=(SECOND,))
    nemo = {"audio_filepath": "a.wav", "text": "one"}
    yield _json("NeMo, `offset` and `duration`", {**nemo, "offset": 1, "duration": 1}, used=(SECOND,))
    yield _json("NeMo, `duration` of the file", {**nemo, "duration": 3.0}, used=(WHOLE,))
    yield _json("NeMo, `duration` of another file", {**nemo, "duration": 1.0}, left_out=1)
    yield _json("Hugging Face, `path` and `sentence`", {"path": "a.wav", "sentence": "one"}, used=(WHOLE,))
    two = {"audio": "two.wav", "text": "one"}
    yield _json("`channel` 1 of a file of two", {**two, "channel": 1}, used=("2.0 s: one",))
    yield _json("`channel` 0 of it, which is silent", {**two, "channel": 0}, used=("2.0 s, silent: one",))
    yield _one("A list in `.json`", "m.json", json.dumps([A]), WHOLE)
    yield _one("gzipped", "m.jsonl.gz", gzip.compress(json.dumps(A).encode()), WHOLE)


def _json_faults() -> Iterator[ManifestKind]:
    """Entries that are not understood."""
    yield _json("An unknown key (`start`)", {**A, "start": 1}, left_out=1)
    yield _one("A key twice", "m.jsonl", '{"audio": "a.wav", "text": "one", "text": "two"}\n', left_out=1)
    yield _json("Two names of one field that differ", {**A, "sentence": "two"}, left_out=1)
    yield _json("An `id` twice", {**A, "id": "u"}, {**A, "id": "u"}, used=(WHOLE,), left_out=1)
    yield _json("`text` is null", {**A, "text": None}, left_out=1)
    yield _json("`text` is a list", {**A, "text": ["one"]}, left_out=1)
    yield _json("`offset` is NaN", {**A, "offset": float("nan")}, left_out=1)
    yield _json("`offset` is -1", {**A, "offset": -1}, left_out=1)
    yield _json("`duration` is 0", {**A, "offset": 1, "duration": 0}, left_out=1)
    yield _json("`duration` as text", {**A, "offset": 1, "duration": "1"}, left_out=1)
    yield _json("`offset` beyond the end", {**A, "offset": 9, "duration": 1}, left_out=1)
    splits = "".join(json.dumps({**A, "split": split}) + "\n" for split in ("train", "test"))
    yield _refused("Two values of `split`", "m.jsonl", splits)
    yield _refused("One object over several lines", "m.json", json.dumps(A, indent=1))
    yield _refused(
        "SpeechBrain's object of ids", "m.json", json.dumps({"u": {"wav": "a.wav", "words": "one"}})
    )
    yield _one("An empty file", "m.jsonl", "")


def _encodings() -> Iterator[ManifestKind]:
    """Text as editors and spreadsheets save it."""
    line, table = json.dumps(A) + "\r\n", "audio\ttext\r\na.wav\tone\r\n"
    yield _one("UTF-8 with a byte order mark, CRLF", "m.jsonl", f"\ufeff{line}", WHOLE)
    yield _one("UTF-16 of a spreadsheet, tabs", "m.tsv", table.encode("utf-16"), WHOLE)
    yield _refused("UTF-16 without a byte order mark", "m.tsv", table.encode("utf-16-le"))
    yield _refused("Latin-1", "m.csv", "audio,text\na.wav,café\n".encode("latin-1"))
    yield _json("A zero byte in a text", {**A, "text": "o\0ne"}, left_out=1)
    cut_off = gzip.compress("".join(f'{{"audio": "{n}.wav", "text": "x"}}\n' for n in range(999)).encode())
    yield _refused("gzip, cut off", "m.jsonl.gz", cut_off[:-20])


def _paths() -> Iterator[ManifestKind]:
    """Paths as other systems write them."""
    for name, path in (
        ("`https://`", "https://host/a.wav"),
        ("`s3://`", "s3://bucket/a.wav"),
        ("`file://`", "file:///a.wav"),
        (r"`C:\`", r"C:\data\a.wav"),
        ("of 300 letters", "a" * 300),
        ("a folder", "."),
        ("with a variable", "$HOME/a.wav"),
    ):
        yield _json(f"A path: {name}", {**A, "audio": path}, left_out=1)
    wav = _wav(np.resize([0.1, -0.1], RATE_HZ))
    line = json.dumps({**A, "audio": r"clips\b.wav"})
    yield ManifestKind("A path with backslashes", {"clips/b.wav": wav, "m.jsonl": line}, "m.jsonl", (SECOND,))
    odd = os.fsdecode(b"caf\xe9.wav")
    yield ManifestKind(
        "A path that is not UTF-8",
        {odd: wav, "m.jsonl": json.dumps({**A, "audio": odd})},
        "m.jsonl",
        (SECOND,),
    )


def _texts() -> Iterator[ManifestKind]:
    """Texts with what is heard and is no word."""
    for name, text in (
        ("events", "<noise> one [laughter]"),
        ("OWSM's symbols", "<eng><asr><0.00> one<1.00>"),
        ("Whisper's symbols", "<|en|><|0.00|> one<|1.00|>"),
        ("words that are missing", "one (())"),
    ):
        yield _json(f"Tags: {name}", {**A, "text": text}, used=(WHOLE,))


def _tables() -> Iterator[ManifestKind]:
    """Tables of corpora and of spreadsheets."""
    voice = "client_id\tpath\tsentence\tup_votes\ns\ta.wav\tone\t2\n"
    yield _one("Common Voice's table", "m.tsv", voice, WHOLE)
    yield _one("CSV with quotes", "m.csv", 'audio,text\n"a.wav","one, ""two"""\n', '3.0 s: one, "two"')
    yield _one("CSV with a line break in quotes", "m.csv", 'audio,text\na.wav,"one\ntwo"\n', "3.0 s: one two")
    yield _one("TSV with a line break in a value", "m.tsv", 'audio\ttext\na.wav\t"one\ntwo"\n', left_out=2)
    yield _one("Semicolons", "m.csv", "audio;text\na.wav;one\n", WHOLE)
    yield _one("Upright lines", "m.csv", "audio|text\na.wav|one\n", WHOLE)
    yield _one("A number of a channel", "m.csv", "audio,text,channel\ntwo.wav,one,1\n", "2.0 s: one")
    yield _one("A start of `1_0`", "m.csv", "audio,text,start_s\na.wav,one,1_0\n", left_out=1)
    yield _one("A decimal comma", "m.csv", "audio;text;start_s\na.wav;one;1,0\n", left_out=1)
    yield _refused("An unknown column", "m.csv", "audio,words\na.wav,one\n")
    yield _refused("LJ Speech's table, without a header", "m.csv", "LJ001-0001|One|one\n")


def _hugging_face() -> Iterator[ManifestKind]:
    """Folders and files of the `datasets` library."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def parquet(**columns: list[Any]) -> bytes:
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file)
        return file.getvalue()

    wav = _wav(np.resize([0.1, -0.1], RATE_HZ))
    row = {"file_name": "a.wav", "transcription": "one"}
    yield ManifestKind("A folder with metadata.jsonl", {"metadata.jsonl": json.dumps(row)}, ".", (WHOLE,))
    yield ManifestKind(
        "A folder with metadata.csv", {"metadata.csv": "file_name,transcription\na.wav,one\n"}, ".", (WHOLE,)
    )
    packed = parquet(audio=[{"bytes": wav, "path": "x.wav"}], text=["one"])
    yield _one("Parquet with audio inside", "m.parquet", packed, SECOND)
    indexed = parquet(audio=["a.wav"], text=["one"], __index_level_0__=[0])
    yield _one("Parquet with an index of pandas", "m.parquet", indexed, WHOLE)
    yield _one("Parquet, bytes without a path", "m.parquet", parquet(audio=[wav], text=["one"]), left_out=1)
    numbers = parquet(audio=[{"array": [0.1], "sampling_rate": 16_000}], text=["one"])
    yield _one("Parquet, samples as numbers", "m.parquet", numbers, left_out=1)


def _kaldi() -> Iterator[ManifestKind]:
    """Data directories of Kaldi and ESPnet."""

    def directory(name: str, *used: str, left_out: int = 0, **files: Content) -> ManifestKind:
        given: dict[str, Content] = {"wav.scp": "r a.wav\n", "text": "r one\n"}
        given |= {key.replace("wav_scp", "wav.scp"): content for key, content in files.items()}
        return ManifestKind(name, given, ".", used, left_out)

    yield directory("Kaldi", WHOLE)
    yield directory("Kaldi, `segments`", SECOND, text="u one\n", segments="u r 1 2\n")
    yield directory(
        "Kaldi, byte order marks and CRLF", WHOLE, wav_scp="\ufeffr a.wav\r\n", text="\ufeffr one\r\n"
    )
    yield directory("Kaldi, a command", left_out=1, wav_scp="r sox a.wav -t wav - |\n")
    yield directory("Kaldi, a part of an archive", left_out=1, wav_scp="r raw.ark:12\n")
    yield directory("Kaldi, a key with two texts", left_out=1, text="r one\nr two\n")
    yield directory("Kaldi, a text without audio", WHOLE, left_out=1, text="r one\nx two\n")
    yield directory("Kaldi, times of `1_0` and `2_0`", left_out=1, text="u one\n", segments="u r 1_0 2_0\n")
    side: dict[str, Any] = {"wav_scp": "r two.wav\n"}
    yield directory(
        "Kaldi, `reco2file_and_channel` A", "2.0 s, silent: one", **side, reco2file_and_channel="r r A\n"
    )
    yield directory("Kaldi, `reco2file_and_channel` 1", left_out=1, **side, reco2file_and_channel="r r 1\n")


def _lhotse() -> Iterator[ManifestKind]:
    """Cuts of lhotse."""
    recording = {
        "id": "r",
        "sources": [{"type": "file", "channels": [0], "source": "a.wav"}],
        "sampling_rate": RATE_HZ,
        "num_samples": round(SECONDS * RATE_HZ),
        "duration": SECONDS,
        "channel_ids": [0],
    }
    part = {"id": "s", "recording_id": "r", "start": 0, "duration": 1, "channel": 0, "text": "one"}
    cut = {
        "id": "c",
        "start": 1,
        "duration": 2,
        "channel": 0,
        "supervisions": [part],
        "recording": recording,
        "type": "MonoCut",
    }

    def saying(part: Mapping[str, Any], cut: Mapping[str, Any] = cut) -> dict[str, Any]:
        return {**cut, "supervisions": [part]}

    yield _json("lhotse", cut, used=(SECOND,))
    yield _one("lhotse, a list in `.json`", "m.json", json.dumps([cut]), SECOND)
    source = {"type": "file", "channels": [0, 1], "source": "two.wav"}
    two = {
        **recording,
        "sources": [source],
        "channel_ids": [0, 1],
        "num_samples": 2 * RATE_HZ,
        "duration": 2.0,
    }
    both = {**cut, "recording": two, "channel": [0, 1], "duration": 1, "type": "MultiCut"}
    yield _json("lhotse, channel 1 of two", saying({**part, "channel": 1}, both), used=(SECOND,))
    yield _json("lhotse, channel 0 of two, which is silent", saying(part, both), used=("1.0 s, silent: one",))
    faster = {**recording, "transforms": [{"name": "Speed", "kwargs": {"factor": 1.1}}]}
    yield _json("lhotse, a transform", {**cut, "recording": faster}, left_out=1)
    listed = saying({**part, "text": ["one"]})
    yield _json("lhotse, a text that is a list", cut, listed, used=(SECOND,), left_out=1)
    as_text = saying({**part, "start": "0"})
    yield _json("lhotse, a start as text", cut, as_text, used=(SECOND,), left_out=1)
    yield _json("lhotse, a start of NaN", {**cut, "start": float("nan")}, left_out=1)
    longer = saying({**part, "duration": 4})
    yield _json("lhotse, a supervision beyond its cut", longer, left_out=1)
    yield _refused("lhotse, recordings without cuts", "m.jsonl", json.dumps(recording))


def _wav(samples: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV")
    return file.getvalue()
