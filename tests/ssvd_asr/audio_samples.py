"""Audio the tests make themselves: tones in every container, and headers that lie."""

from __future__ import annotations

import io
import struct
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile


def tone(seconds: float, rate_hz: int, frequency_hz: float = 440.0, level: float = 0.3) -> np.ndarray:
    """(samples,) float32."""
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(
        np.float32
    )


def encoded(samples: np.ndarray, rate_hz: int, format: str = "WAV", subtype: str | None = None) -> bytes:
    """Through libsndfile; samples (frames,) or (frames, channels)."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=format, subtype=subtype)
    return file.getvalue()


def encoded_by_ffmpeg(
    samples: np.ndarray,
    rate_hz: int,
    container: str,
    codec: str,
    *,
    muxer: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
    gap: tuple[float, float] = (np.inf, 0.0),
    seekable: bool = True,
) -> bytes:
    """Through PyAV, with options for its muxer and encoder; samples (frames,) or (frames, channels).

    Packets from gap[0] s on are gap[1] s later.  Without seekable it is written as to a pipe.
    """
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[1 if samples.ndim == 1 else samples.shape[1]]
    file = io.BytesIO() if seekable else _WrittenPipe()
    with av.open(file, "w", format=container, options=muxer or {}) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout=layout)
        stream.codec_context.options = encoder or {}
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(np.atleast_2d(samples.T)), format="fltp", layout=layout
        )
        frame.sample_rate = rate_hz
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            if packet.pts * packet.time_base >= gap[0]:
                packet.pts = packet.dts = packet.pts + round(gap[1] / packet.time_base)
            output.mux(packet)
    return file.getvalue()


def with_tracks(tracks: list[np.ndarray], rate_hz: int, container: str, codec: str) -> bytes:
    """A file with an audio track for each of some mono waves."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        streams = [output.add_stream(codec, rate=rate_hz, layout="mono") for _ in tracks]
        for stream, samples in zip(streams, tracks, strict=True):
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
            frame.sample_rate = rate_hz
            frame.pts = 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
    return file.getvalue()


def with_index_first(m4a: bytes) -> bytes:
    """The same m4a file with its index before its samples, as for the web."""
    with tempfile.NamedTemporaryFile() as file:  # the muxer reads its own output again
        options = {"movflags": "+faststart"}
        with (
            av.open(io.BytesIO(m4a)) as whole,
            av.open(file.name, "w", format="ipod", options=options) as output,
        ):
            stream = output.add_stream_from_template(whole.streams.audio[0])
            for packet in whole.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
        return Path(file.name).read_bytes()


class _WrittenPipe(io.RawIOBase):
    """A file that cannot seek."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._written += bytes(data)
        return len(data)

    def getvalue(self) -> bytes:
        return bytes(self._written)


def flac_claiming(rate_hz: int, channels: int, total_frames: int, body: bytes = b"") -> bytes:
    """A FLAC stream info block that says whatever one likes."""
    fields = (rate_hz << 44) | ((channels - 1) << 41) | (15 << 36) | total_frames
    info = (65_535).to_bytes(2, "big") * 2 + bytes(6) + fields.to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80" + len(info).to_bytes(3, "big") + info + body


def flac_with_total(flac: bytes, total_frames: int) -> bytes:
    """The same FLAC file, its length field replaced."""
    fields = int.from_bytes(flac[18:26], "big") >> 36 << 36 | total_frames
    return flac[:18] + fields.to_bytes(8, "big") + flac[26:]


def m4a_claiming(entries: int) -> bytes:
    """2.5 kB of MP4 whose sample table claims this many AAC frames of one byte."""
    specific = bytes([5, 2, 0x12, 0x08])
    decoder = bytes([4, 13 + len(specific), 0x40, 0x15]) + bytes(11) + specific
    esds = _full(b"esds", bytes([3, 6 + len(decoder), 0, 0, 0]) + decoder + bytes([6, 1, 2]))
    entry = _box(b"mp4a", bytes(6), struct.pack(">H8xHHHHI", 1, 1, 16, 0, 0, 44_100 << 16), esds)
    table = _box(
        b"stbl",
        _full(b"stsd", struct.pack(">I", 1), entry),
        _full(b"stts", struct.pack(">5I", 2, entries // 2, 1024, entries - entries // 2, 1023)),
        _full(b"stsc", struct.pack(">4I", 1, 1, entries, 1)),
        _full(b"stsz", struct.pack(">2I", 1, entries)),
        _full(b"stco", struct.pack(">2I", 1, 40)),
    )
    media = _box(
        b"mdia",
        _full(b"mdhd", struct.pack(">8x2I2H", 44_100, 441_000, 0x55C4, 0)),
        _full(b"hdlr", bytes(4), b"soun", bytes(13)),
        _box(b"minf", _full(b"smhd", bytes(4)), table),
    )
    track = _box(b"trak", _full(b"tkhd", struct.pack(">8xI4xI60x", 1, 441_000), flags=7), media)
    header = _full(b"mvhd", struct.pack(">8x2IIH70xI", 44_100, 441_000, 0x10000, 0x100, 2))
    return _box(b"ftyp", b"M4A \0\0\0\0M4A mp42") + _box(b"moov", header, track) + _box(b"mdat", bytes(2000))


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)
