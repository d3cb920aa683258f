"""Audio files of every kind that `true_in` reads: a tone in many containers, and the faults of files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

FloatArray = npt.NDArray[np.float32]

SECONDS = 10.0  # of sound in each file
GAP_S = 3.0
RATE_HZ = 48_000
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
UNWRITTEN = b"\xff\xff\xff\xff"  # the size that a WAV from a pipe states


@dataclass(frozen=True)
class Kind:
    """One file, with the seconds that it holds, or held before it was cut, and those with sound."""

    name: str
    data: bytes
    seconds: float = SECONDS
    sound_s: float = SECONDS


def kinds() -> Iterator[Kind]:
    """Yield every kind of file."""
    yield from _written_open()
    yield from _joined()
    yield from _gaps()
    yield from _levels()
    yield from _tracks()
    yield from _containers()
    yield from _holes()
    yield from _left_over()
    yield from _behind()
    yield from _wrong_headers()


def tone(seconds: float = SECONDS, rate_hz: int = RATE_HZ, level: float = 0.3) -> FloatArray:
    """Return (frames, 1)."""
    wave = level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate_hz)) / rate_hz)
    return wave.astype(np.float32)[:, np.newaxis]


def _written_open() -> Iterator[Kind]:
    """Files whose length was never written, or is not there."""
    wav = _sndfile(tone(), "WAV", "PCM_16")
    yield Kind("WAV from a pipe (sizes 0xFFFFFFFF)", wav[:4] + UNWRITTEN + wav[8:40] + UNWRITTEN + wav[44:])
    yield Kind("WAV from a pipe (sizes 0)", wav[:4] + bytes(4) + wav[8:40] + bytes(4) + wav[44:])
    yield Kind("WAV cut at 70 %", wav[: int(0.7 * len(wav))])
    noise = 0.3 * np.random.default_rng(7).standard_normal((round(SECONDS / 2 * RATE_HZ), 1))
    halves = np.concatenate([noise.astype(np.float32), tone(SECONDS / 2, level=0.1)])
    variable = {"global_quality": "500", "flags": "+qscale"}
    yield Kind(
        "MP3 of a variable rate without a Xing header",
        _ffmpeg([halves], "mp3", "libmp3lame", muxer={"write_xing": "0"}, encoder=variable),
    )
    adpcm = _ffmpeg([tone(rate_hz=8_000)], "wav", "g726", rate_hz=8_000)
    yield Kind("WAV of G.726 cut at 70 %", adpcm[: int(0.7 * len(adpcm))])


def _joined() -> Iterator[Kind]:
    """Files made by `cat`."""
    half = tone(SECONDS / 2)
    for name, file in (
        ("Ogg Opus", _sndfile(half, "OGG", "OPUS")),
        ("Ogg Vorbis", _sndfile(half, "OGG", "VORBIS")),
        ("MP3", _ffmpeg([half], "mp3", "libmp3lame")),
        ("AAC", _ffmpeg([half], "adts", "aac")),
        ("MPEG-TS", _ffmpeg([half], "mpegts", "aac")),
        ("FLV", _ffmpeg([half], "flv", "aac", rate_hz=44_100)),
        ("M4A", _ffmpeg([half], "ipod", "aac")),
    ):
        yield Kind(f"Two joined {name} files", file + file)


def _gaps() -> Iterator[Kind]:
    """Files whose timestamps jump."""
    for name, container, codec in (
        ("WebM", "webm", "libopus"),
        ("MP4", "mp4", "aac"),
        ("MPEG-TS", "mpegts", "aac"),
    ):
        data = _ffmpeg([tone()], container, codec, gap_from_s=SECONDS / 2)
        yield Kind(f"{name} with a gap of {GAP_S:g} s", data, SECONDS + GAP_S)


def _levels() -> Iterator[Kind]:
    """Files with faults of their samples."""
    one = tone()
    for name, samples in (
        ("Stereo", np.hstack([one, one])),
        ("Stereo, one channel inverted", np.hstack([one, -one])),
        (
            "Stereo, inverted in its second half",
            np.hstack([one, one * np.repeat([[1], [-1]], len(one) // 2, 0)]),
        ),
        ("Stereo, one channel dead", np.hstack([one, 0 * one])),
        ("Offset of 0.3", one + np.float32(0.3)),
        ("Clipped", np.clip(10 * one, -1, 1)),
        ("Float samples up to 6 times full scale", 20 * one),
        ("Float samples up to 6000 times full scale", 20_000 * one),
    ):
        yield Kind(name, _sndfile(samples, "WAV", "FLOAT"))
    yield Kind("384 kHz", _sndfile(tone(rate_hz=384_000), "FLAC", "PCM_16", rate_hz=384_000))


def _tracks() -> Iterator[Kind]:
    """Files with two audio tracks."""
    for container, codec in (("mp4", "aac"), ("matroska", "libopus"), ("mpegts", "aac")):
        data = _ffmpeg([0 * tone(), tone()], container, codec)
        yield Kind(f"Silent first of two tracks ({container})", data)


def _containers() -> Iterator[Kind]:
    """Containers and codecs of cameras, broadcasts and telephones."""
    for container, codec, channels, rate_hz in (
        ("mpegts", "aac", 1, RATE_HZ),
        ("mpegts", "ac3", 6, RATE_HZ),
        ("vob", "ac3", 2, RATE_HZ),
        ("mpeg", "mp2", 1, RATE_HZ),
        ("flv", "aac", 1, 44_100),
        ("flv", "nellymoser", 1, 22_050),
        ("avi", "pcm_s16le", 2, RATE_HZ),
        ("avi", "libmp3lame", 1, 44_100),
        ("mxf_opatom", "pcm_s16le", 1, RATE_HZ),
        ("rm", "real_144", 1, 8_000),
        ("ac3", "ac3", 6, RATE_HZ),
        ("eac3", "eac3", 6, RATE_HZ),
        ("wv", "wavpack", 2, 44_100),
        ("tta", "tta", 2, 44_100),
        ("mp2", "mp2", 1, RATE_HZ),
        ("latm", "aac", 1, RATE_HZ),
        ("wav", "g722", 1, 16_000),
        ("wav", "g726", 1, 8_000),
    ):
        samples = np.repeat(tone(rate_hz=rate_hz), channels, axis=1)
        shown = "mono" if channels == 1 else LAYOUTS[channels]
        yield Kind(f"{codec} in {container}, {shown}", _ffmpeg([samples], container, codec, rate_hz=rate_hz))


def _holes() -> Iterator[Kind]:
    """Files of which a fifth of the bytes is lost in the middle, and cut files of lesser formats."""
    fixed = {"write_xing": "0"}
    for name, file in (
        ("Ogg Opus", _sndfile(tone(), "OGG", "OPUS")),
        ("Ogg FLAC", _ffmpeg([tone()], "ogg", "flac")),
        ("WebM", _ffmpeg([tone()], "webm", "libopus")),
        ("MP2", _ffmpeg([tone()], "mp2", "mp2")),
        ("MP3 without a Xing header", _ffmpeg([tone()], "mp3", "libmp3lame", muxer=fixed)),
        ("AC-3", _ffmpeg([tone()], "ac3", "ac3")),
        ("AVI of MP2", _ffmpeg([tone()], "avi", "mp2")),
        ("FLV", _ffmpeg([tone(rate_hz=22_050)], "flv", "nellymoser", rate_hz=22_050)),
        ("RealMedia", _ffmpeg([tone(rate_hz=8_000)], "rm", "real_144", rate_hz=8_000)),
    ):
        start, stop = len(file) * 2 // 5 + 7, len(file) * 3 // 5 + 13  # within a frame
        yield Kind(f"{name} with a hole in its middle", file[:start] + file[stop:])
    for container in ("RF64", "NIST", "VOC", "IRCAM", "MAT5"):
        file = _sndfile(tone(), container, "PCM_16")
        yield Kind(f"{container} cut at 70 %", file[: int(0.7 * len(file))])


def _left_over() -> Iterator[Kind]:
    """Files with more than a reader looks at, or with less that is no fault."""
    wav, half = _sndfile(tone(), "WAV", "PCM_16"), round(SECONDS / 2 * RATE_HZ) * 2
    header, samples = wav[:40], wav[44:]
    size = half.to_bytes(4, "little")
    yield Kind(
        "WAV with two blocks of samples", header + size + samples[:half] + b"data" + size + samples[half:]
    )
    yield Kind("WAV that states half of its samples", header + size + samples)
    yield Kind(
        "MP3 behind a WAV", _sndfile(tone(SECONDS / 2), "WAV", "PCM_16") + _sndfile(tone(SECONDS / 2), "MP3")
    )
    yield Kind("WAV with a tag behind it", wav + b"TAG" + bytes(125))
    flac = _sndfile(tone(), "FLAC", "PCM_16")
    total = int.from_bytes(flac[18:26], "big") >> 36 << 36 | round(SECONDS / 2 * RATE_HZ)
    yield Kind("FLAC that states half of its samples", flac[:18] + total.to_bytes(8, "big") + flac[26:])
    ogg = _sndfile(np.repeat(tone(), 2, axis=1), "OGG", "VORBIS")
    yield Kind("Ogg without its last page", ogg[: ogg.rindex(b"OggS")], SECONDS - 0.17, SECONDS - 0.2)
    wma = _ffmpeg([np.repeat(tone(), 2, axis=1)], "asf", "wmav2", encoder={"b": "96000"})
    start, stop = len(wma) * 2 // 5 + 7, len(wma) * 3 // 5 + 13
    yield Kind("WMA with a hole in its packets", wma[:start] + wma[stop:], sound_s=0.77 * SECONDS)
    noise = b"\x3c" + np.random.default_rng(3).bytes(31)  # a frame of 20 ms
    yield Kind("AMR with pauses", b"#!AMR\n" + 250 * noise + 250 * b"\x7c", sound_s=SECONDS / 2)
    yield Kind(
        "A minute of PCM in AVI", _ffmpeg([tone(6 * SECONDS)], "avi", "pcm_s16le"), 6 * SECONDS, 6 * SECONDS
    )


def _behind() -> Iterator[Kind]:
    """Whole files with tags behind them, with broken last frames, and with other files behind them."""
    tag, mp3 = b"TAG" + bytes(125), _ffmpeg([tone()], "mp3", "libmp3lame", rate_hz=48_000)
    flac = _sndfile(tone(), "FLAC", "PCM_16")
    unknown = flac[:18] + (int.from_bytes(flac[18:26], "big") >> 36 << 36).to_bytes(8, "big") + flac[26:]
    yield Kind("FLAC from a pipe with a tag behind it", unknown + tag)
    for container, codec in (("wv", "wavpack"), ("ac3", "ac3")):
        yield Kind(f"{codec} with a tag behind it", _ffmpeg([tone()], container, codec, rate_hz=48_000) + tag)
    for container, codec in (("tta", "tta"), ("matroska", "flac"), ("mxf_opatom", "pcm_s16le")):
        file = _ffmpeg([tone(SECONDS / 2, rate_hz=48_000)], container, codec, rate_hz=48_000)
        yield Kind(f"MP3 behind {codec} in {container}", file + mp3)
    for container in ("AIFF", "CAF", "AU"):
        yield Kind(f"MP3 behind {container}", _sndfile(tone(SECONDS / 2), container, "PCM_16") + mp3)
    for container, codec in (("tta", "tta"), ("wv", "wavpack")):
        file = _ffmpeg([tone(rate_hz=48_000)], container, codec, rate_hz=48_000)
        start, stop = len(file) // 2, len(file) // 2 + 100
        yield Kind(f"{codec} with 100 bytes zeroed", file[:start] + bytes(100) + file[stop:])
    yield Kind("MP3 that lacks 100 bytes of its last frame", mp3[:-100])


def _wrong_headers() -> Iterator[Kind]:
    """Files whose header counts wrongly, stands elsewhere, or contradicts itself."""
    mp3 = _ffmpeg([tone()], "mp3", "libmp3lame", muxer={"id3v2_version": "0"})
    count = mp3.index(b"Info") + 8
    frames = int.from_bytes(mp3[count : count + 4], "big")
    half = (frames // 2).to_bytes(4, "big")
    yield Kind("MP3 whose Xing header counts half of its frames", mp3[:count] + half + mp3[count + 4 :])
    yield Kind("MP3 whose Xing header counts no frames", mp3[:count] + bytes(4) + mp3[count + 4 :])
    noise = 0.3 * np.random.default_rng(7).standard_normal((round(SECONDS / 2 * RATE_HZ), 1))
    halves = np.concatenate([noise.astype(np.float32), tone(SECONDS / 2, level=0.1)])
    variable = {"global_quality": "500", "flags": "+qscale"}
    bare = {"write_xing": "0", "id3v2_version": "0"}
    frame = _ffmpeg([tone(0.001)], "mp3", "libmp3lame", muxer=bare, encoder=variable)
    yield Kind(
        "MP3 whose Xing header stands behind a frame",
        frame + _ffmpeg([halves], "mp3", "libmp3lame", muxer={"id3v2_version": "0"}, encoder=variable),
    )
    wav = _sndfile(tone(), "WAV", "PCM_16")
    yield Kind("WAV of 16 bits whose header says 24", wav[:34] + (24).to_bytes(2, "little") + wav[36:])
    yield Kind("WAV of MP3", _ffmpeg([tone()], "wav", "libmp3lame"))


def _sndfile(
    samples: FloatArray, container: str, subtype: str | None = None, *, rate_hz: int = RATE_HZ
) -> bytes:
    """Encode (frames, channels) by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


def _ffmpeg(
    tracks: list[FloatArray],
    container: str,
    codec: str,
    *,
    rate_hz: int = RATE_HZ,
    muxer: Mapping[str, str] | None = None,
    encoder: Mapping[str, str] | None = None,
    gap_from_s: float = np.inf,
) -> bytes:
    """Encode audio tracks of (frames, channels) by FFmpeg; packets from gap_from_s on are GAP_S later."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=dict(muxer or {})) as output:
        streams: list[Any] = []
        for samples in tracks:
            stream = output.add_stream(codec, rate=rate_hz, layout=LAYOUTS[samples.shape[1]])
            stream.codec_context.options = dict(encoder or {})
            streams.append(stream)
        for stream, samples in zip(streams, tracks, strict=True):
            planes = np.ascontiguousarray(samples.T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=LAYOUTS[samples.shape[1]])
            frame.sample_rate, frame.pts = rate_hz, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                if packet.pts * packet.time_base >= gap_from_s:
                    packet.pts = packet.dts = packet.pts + round(GAP_S / packet.time_base)
                output.mux(packet)
    return file.getvalue()
