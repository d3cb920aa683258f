"""Audio files that lie about what is in them, or are none."""

from __future__ import annotations

import io
import pickle
import random
import struct
import zipfile
from collections.abc import Mapping
from functools import partial

import numpy as np

from tests.fire.hostile import MAX_DURATION_S, OVER_LIMIT, TOO_LONG, UNREADABLE, Case, Heard
from tests.speechlike import RATE, babble, wav_bytes
from tests.ssvd_asr.audio_samples import (
    encoded,
    encoded_by_ffmpeg,
    flac_claiming,
    flac_with_total,
    m4a_claiming,
    tone,
)


def riff(rate_hz: int = RATE, channels: int = 1, bits: int = 16, tag: int = 1, *, align: int | None = None,
         data: bytes = bytes(3200), claimed: int | None = None, before: bytes = b"") -> bytes:  # fmt: skip
    """A WAV file whose header says whatever one likes. before: chunks ahead of the samples."""
    align = channels * bits // 8 if align is None else align
    packed = struct.pack(
        "<HHIIHH", tag, channels, rate_hz, rate_hz * align & 0xFFFFFFFF, align & 0xFFFF, bits
    )
    chunks = chunk(b"fmt ", packed) + before
    chunks += b"data" + struct.pack("<I", len(data) if claimed is None else claimed) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) & 0xFFFFFFFF) + b"WAVE" + chunks


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a RIFF file."""
    return name + struct.pack("<I", len(body)) + body


def speech(kind: str = "WAV", subtype: str | None = None, seconds: float = 2.0) -> bytes:
    """Speech-like sound through libsndfile."""
    return encoded(babble(seconds), RATE, kind, subtype)


def by_ffmpeg(container: str, codec: str, seconds: float = 2.0) -> bytes:
    """A tone through FFmpeg."""
    return encoded_by_ffmpeg(tone(seconds, 48_000), 48_000, container, codec)


def silence(seconds: float) -> bytes:
    """An Opus file of nothing, which is small for its length."""
    return encoded(np.zeros(round(48_000 * seconds), np.float32), 48_000, "OGG", "OPUS")


def floats(value: float, subtype: str = "FLOAT") -> bytes:
    """A WAV file of silence in whose middle one sample has this value."""
    samples = np.zeros(RATE, np.float64)
    samples[RATE // 2] = value
    return encoded(samples, RATE, "WAV", subtype)


def flipped(data: bytes, at: float) -> bytes:
    """The same bytes but for one, at this share of the length."""
    damaged = bytearray(data)
    damaged[int(at * len(data))] ^= 0x5A
    return bytes(damaged)


def cut(data: bytes, kept: float) -> bytes:
    """The beginning of some bytes."""
    return data[: int(kept * len(data))]


def zipped() -> bytes:
    """A ZIP archive of a megabyte of zeros."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(2**20))
    return out.getvalue()


class _Opens:
    """Opens a shell where somebody unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("raise SystemExit",)


def nested_boxes(depth: int) -> bytes:
    """MP4 boxes within each other."""
    body = b""
    for _ in range(depth):
        body = struct.pack(">I4s", 8 + len(body), b"moov") + body
    return struct.pack(">I4s", 16, b"ftyp") + b"M4A \0\0\0\0" + body


def opus_head(channels: int) -> bytes:
    """The first page of an Ogg stream of Opus, with a wrong checksum."""
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, 0, 48_000, 0, 255)
    page = b"OggS" + struct.pack("<BBqIIIB", 0, 2, 0, 1, 0, 0, 1)
    return page + bytes([len(head)]) + head


_NOISE = random.Random(7).randbytes
_TEXT = b"Once upon a time there was no audio in here.\n" * 200
_SOUND = (0.1 * np.random.default_rng(1).standard_normal(2 * RATE)).astype(np.float32)

AUDIO: Mapping[str, Case] = {
    # no audio
    "nothing": Case(bytes, UNREADABLE),
    "one byte": Case(lambda: b"R", UNREADABLE),
    "text": Case(lambda: _TEXT, UNREADABLE),
    "noise": Case(partial(_NOISE, 20_000), UNREADABLE),
    "zeros": Case(partial(bytes, 50_000), UNREADABLE),
    "a zip archive": Case(zipped, UNREADABLE),
    "a pickle": Case(lambda: pickle.dumps(_Opens()), UNREADABLE),
    "a web page": Case(lambda: b"<!DOCTYPE html><script>fetch('http://127.0.0.1/')</script>", UNREADABLE),
    "a picture": Case(lambda: b"\x89PNG\r\n\x1a\n" + bytes(5000), UNREADABLE),
    "a playlist of a file": Case(
        lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", UNREADABLE
    ),
    "a playlist of an address": Case(
        lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n", UNREADABLE
    ),
    "a list of parts": Case(lambda: b"ffconcat version 1.0\nfile /etc/passwd\n", UNREADABLE),
    "a session description": Case(
        lambda: b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
        UNREADABLE,
    ),
    "subtitles": Case(lambda: b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n", UNREADABLE),
    # WAV
    "a header alone": Case(lambda: riff()[:44], UNREADABLE),
    "half a header": Case(lambda: riff()[:30], UNREADABLE),
    "no samples": Case(lambda: riff(data=b""), UNREADABLE),
    "one sample": Case(lambda: riff(data=b"\0\1"), Heard(0.0, silent=True)),
    "half a sample": Case(lambda: riff(data=b"\1"), UNREADABLE),
    "a length of 4 GB": Case(lambda: riff(claimed=0xFFFFFFFF), Heard(0.1, silent=True)),
    "a length of 2 GB": Case(lambda: riff(claimed=0x7FFFFFFE), Heard(0.1, silent=True)),
    "a length that is too short": Case(lambda: riff(data=_NOISE(3200), claimed=1600), UNREADABLE),
    "cut off": Case(lambda: cut(speech(), 0.5), UNREADABLE),
    "no channel": Case(lambda: riff(channels=0, align=2), UNREADABLE),
    "nine channels": Case(lambda: encoded(np.zeros((RATE, 9), np.float32), RATE), OVER_LIMIT),
    "65535 channels": Case(lambda: riff(channels=65_535, align=65_535), UNREADABLE),
    "a rate of 0": Case(lambda: riff(rate_hz=0), UNREADABLE),
    "a rate of 1 Hz": Case(lambda: riff(rate_hz=1), UNREADABLE),
    "a rate of 4 GHz": Case(lambda: riff(rate_hz=0xFFFFFFFF), UNREADABLE),
    "a rate of 2 GHz": Case(lambda: riff(rate_hz=0x7FFFFFFF), OVER_LIMIT),
    "samples of 0 bits": Case(lambda: riff(bits=0, align=2), UNREADABLE),
    "samples of 65535 bits": Case(lambda: riff(bits=65_535), UNREADABLE),
    "an unknown codec": Case(lambda: riff(tag=0x1234), UNREADABLE),
    "a chunk of 4 GB": Case(lambda: riff(before=b"JUNK\xff\xff\xff\xff"), UNREADABLE),
    "10000 empty chunks": Case(lambda: riff(before=chunk(b"JUNK", b"") * 10_000), Heard(0.1, silent=True)),
    "two files in one": Case(lambda: speech() + speech(), UNREADABLE),
    "another file behind it": Case(lambda: speech() + zipped(), UNREADABLE),
    "zeros behind it": Case(lambda: speech() + bytes(100_000), Heard(2.0)),
    "not a number": Case(lambda: floats(float("nan")), UNREADABLE),
    "infinity": Case(lambda: floats(float("inf")), UNREADABLE),
    "a double too large": Case(lambda: floats(1e300, "DOUBLE"), UNREADABLE),
    "integers as floats": Case(lambda: floats(3000.0), UNREADABLE),
    # other containers
    "FLAC of 655350 Hz": Case(lambda: flac_claiming(655_350, 8, 2**36 - 1, bytes(5000)), OVER_LIMIT),
    "FLAC of 1193 hours": Case(lambda: flac_with_total(speech("FLAC"), 2**36 - 1), Heard(2.0)),
    "FLAC cut off": Case(lambda: cut(speech("FLAC"), 0.6), UNREADABLE),
    "FLAC damaged": Case(lambda: flipped(speech("FLAC"), 0.6), UNREADABLE),
    "FLAC of pictures": Case(lambda: b"fLaC" + (b"\x06\xff\xff\xff" + bytes(1000)) * 200, UNREADABLE),
    "Opus of 255 channels": Case(lambda: opus_head(255) * 3, UNREADABLE),
    "Opus of a minute": Case(partial(silence, 60.0), TOO_LONG),
    "Opus cut in a page": Case(lambda: cut(speech("OGG", "OPUS"), 0.7), UNREADABLE),
    "Opus damaged": Case(lambda: flipped(speech("OGG", "OPUS"), 0.7), UNREADABLE),
    "Vorbis cut in its headers": Case(lambda: cut(speech("OGG", "VORBIS"), 0.2), UNREADABLE),
    "MP3 cut off": Case(lambda: cut(speech("MP3"), 0.5), UNREADABLE),
    "MP3 of a tag of 256 MB": Case(lambda: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(1000), UNREADABLE),
    "MP3 of tags": Case(lambda: (b"ID3\4" + bytes(6)) * 150_000, UNREADABLE),
    "MP3 of empty frames": Case(lambda: b"\xff\xfb\x90\x00" * 20_000, UNREADABLE),
    "M4A of 100 million frames": Case(partial(m4a_claiming, 100_000_000), UNREADABLE),
    "M4A cut off": Case(lambda: cut(by_ffmpeg("ipod", "aac"), 0.5), UNREADABLE),
    "M4A of 20000 boxes in boxes": Case(partial(nested_boxes, 20_000), UNREADABLE),
    "M4A of a box of length 0": Case(lambda: b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\0moov", UNREADABLE),
    "WebM cut off": Case(lambda: cut(by_ffmpeg("webm", "libopus"), 0.6), UNREADABLE),
    "WebM of a minute": Case(
        lambda: encoded_by_ffmpeg(np.zeros(48_000 * 60, np.float32), 48_000, "webm", "libopus"), TOO_LONG
    ),
    "WebM of a header of 2^56 bytes": Case(
        lambda: b"\x1aE\xdf\xa3\x01" + b"\xff" * 7 + bytes(500), UNREADABLE
    ),
    "AAC of noise": Case(lambda: b"\xff\xf1\x50\x80\x02\x1f\xfc" + _NOISE(3000), UNREADABLE),
    "AIFF of 2^32 frames": Case(
        lambda: encoded(_SOUND, RATE, "AIFF")[:22] + b"\xff\xff\xff\xff" + encoded(_SOUND, RATE, "AIFF")[26:],
        Heard(2.0),
    ),
    "AU of a header of 4 GB": Case(
        lambda: b".snd\xff\xff\xff\xff" + encoded(_SOUND, RATE, "AU")[8:], UNREADABLE
    ),
    "CAF cut off": Case(lambda: cut(encoded(_SOUND, RATE, "CAF", "ALAC_16"), 0.5), UNREADABLE),
    "W64 of noise": Case(lambda: encoded(_SOUND, RATE, "W64")[:40] + _NOISE(4000), UNREADABLE),
    "AMR of 40 s of pauses": Case(lambda: b"#!AMR\n" + b"\x7c" * 2000, TOO_LONG),
    # audio, at the edges
    "silence": Case(lambda: wav_bytes(np.zeros(5 * RATE, np.float32)), Heard(5.0, silent=True)),
    "white noise": Case(lambda: wav_bytes(_SOUND), Heard(2.0, silent=True)),
    "a constant": Case(lambda: wav_bytes(np.full(2 * RATE, 0.5, np.float32)), Heard(2.0, silent=True)),
    "one click": Case(lambda: floats(0.9), Heard(1.0, silent=True)),
    "384 kHz": Case(lambda: wav_bytes(np.zeros(38_400, np.float32), 384_000), Heard(0.1, silent=True)),
    "as long as is allowed": Case(
        lambda: wav_bytes(np.zeros(MAX_DURATION_S * RATE, np.float32)), Heard(MAX_DURATION_S, silent=True)
    ),
    "0.1 s too long": Case(lambda: wav_bytes(np.zeros(MAX_DURATION_S * RATE + 1600, np.float32)), TOO_LONG),
}
