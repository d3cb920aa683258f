"""Decoding child of ffmpeg.py: a file on stdin, a JSON header line and float32 samples on stdout.

It is run as a script, with the limits in bytes and seconds as arguments.  It imports neither numpy nor this
package, because every m4a pays for its start.  FFmpeg knows hundreds of formats; some open other files or
addresses (playlists, concat scripts) or decode pictures.  Only the containers and decoders named here are
tried, and no protocol.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import groupby
from typing import Any, BinaryIO

EXIT_UNREADABLE = 3
EXIT_MEMORY = 4
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aac", "amr", "asf", "wav", "flac", "caf", "mp3",
    "mpegts", "mpeg", "flv", "avi", "mxf", "rm", "ac3", "eac3", "wv", "tta", "loas",
)  # fmt: skip
STATE_DURATION = (  # FFmpeg guesses that of the others
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flv", "avi", "mxf", "rm", "wv", "tta",
)  # fmt: skip
HAVE_GAPS = (  # their timestamps may jump over silence
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "flv",
)  # fmt: skip
TOLERANCE_S = 0.1  # audio that may be missing
SILENCE_SAMPLES = 2**16
SILENCE_CHECK_HZ = 8_000
SILENT_LEVEL = 32  # of 16-bit samples, -60 dB: a track that stays below it is silent
DECODERS = (
    "aac", "alac", "opus", "libopus", "vorbis", "flac", "mp3", "mp3float", "amrnb", "amrwb",
    "wmav1", "wmav2", "wmapro", "ac3", "eac3", "speex", "mp1", "mp1float", "mp2", "mp2float", "aac_latm",
    "wavpack", "tta", "nellymoser", "real_144", "g722", "g726", "adpcm_swf", "adpcm_yamaha",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be",
    "pcm_f64le", "pcm_f64be", "pcm_bluray", "pcm_dvd",
    "pcm_u8", "pcm_s8", "pcm_alaw", "pcm_mulaw", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt",
)  # fmt: skip


def main(max_bytes: int, max_cpu_s: int) -> int:
    """Decode stdin to stdout and return the exit status. An error's reason goes to stderr."""
    words = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries may fill stderr, which the parent reads last
    import av  # noqa: F401  # before the limits, which are meant for the file

    _limit_resources(max_bytes, max_cpu_s)
    try:
        _decode(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the parent stopped reading
        return 0
    except MemoryError:
        return EXIT_MEMORY
    except Exception as error:
        # Any other error is this file's. FFmpeg's own "no memory" is a MemoryError too, handled above.
        words.write(_reason(error)[:1000])
        words.flush()
        return EXIT_UNREADABLE
    return 0


def _reason(error: Exception) -> str:
    import av

    if isinstance(error, av.error.PatchWelcomeError):
        return "changes its rate or channels on the way, which FFmpeg cannot follow in this format"
    if isinstance(error, av.error.InvalidDataError):
        return f"{error.strerror}: it is cut off, damaged or not audio"
    return str(getattr(error, "strerror", None) or error)


def _limit_resources(max_bytes: int, max_cpu_s: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (max_cpu_s, max_cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(source: BinaryIO, sink: BinaryIO) -> None:
    with _opened(source) as container:
        tracks = len(container.streams.audio)
    track = _first_with_sound(source, tracks) if tracks > 1 else 0
    with _opened(source) as container:
        header = {"track": track, "tracks": tracks}
        writer = _Writer(sink, header, fills_gaps=container.format.name in HAVE_GAPS)
        for frame in _frames(container, track):
            writer.add(frame)
        writer.finish()
    sink.flush()


def _first_with_sound(source: BinaryIO, tracks: int) -> int:
    """Return the first audio track with a sample over SILENT_LEVEL; 0 if all are silent."""
    import av

    for track in range(tracks):
        with _opened(source) as container:
            for _, frames in groupby(_frames(container, track), _kind):
                integers = av.AudioResampler(format="s16", rate=SILENCE_CHECK_HZ)
                if any(_has_sound(each) for frame in frames for each in integers.resample(frame)):
                    return track
    return 0


def _kind(frame: Any) -> tuple[int, str]:
    """Return what a resampler cannot follow when it changes: rate and channels."""
    return frame.sample_rate, frame.layout.name


def _has_sound(frame: Any) -> bool:
    """Return whether a frame of 16-bit samples has one over SILENT_LEVEL."""
    samples = memoryview(frame.planes[0])[: 2 * frame.samples * frame.layout.nb_channels].cast("h")
    return len(samples) > 0 and max(max(samples), -min(samples)) > SILENT_LEVEL


def _opened(source: BinaryIO) -> Any:
    """Return the container, opened from the start of the source.

    Raises:
        ValueError: it is none of CONTAINERS, or has no audio.
    """
    import av

    source.seek(0)
    options = {
        "format_whitelist": ",".join(CONTAINERS),
        "codec_whitelist": ",".join(DECODERS),
        "protocol_whitelist": "",
    }
    try:
        container = av.open(source, "r", options=options)
    except av.error.ArgumentError as error:
        raise ValueError("it has none of the formats that are read") from error
    if not container.streams.audio:
        container.close()
        raise ValueError(f"no audio stream in this {container.format.long_name} file")
    return container


def _frames(container: Any, track: int) -> Iterator[Any]:
    """Yield the decoded frames of an audio track.

    Raises:
        ValueError: its codec is not one of DECODERS, the packets end before the duration that the container
            states, or packets of an MP3 with more than TOLERANCE_S of audio cannot be decoded.
        av.error.InvalidDataError: a packet of another container cannot be decoded.
    """
    import av

    audio = container.streams.audio[track]
    codec = audio.codec_context.codec.name
    if codec not in DECODERS:
        raise ValueError(f"codec {codec!r} is not one of {DECODERS}")
    end_s = lost_s = 0.0
    for packet in container.demux():
        # A container that states no duration of the audio states that of its longest stream.
        if packet.pts is not None and (packet.stream is audio or audio.duration is None):
            end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream is not audio:
            continue
        if packet.is_corrupt and container.format.name != "wav":  # of PCM, only part of one packet is missing
            raise ValueError(f"is cut off or damaged at {end_s:.3f} s")
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            # Between joined MP3 files lie tags, which the demuxer takes for packets.
            lost_s += float((packet.duration or 0) * packet.time_base)
            if container.format.name != "mp3" or lost_s > TOLERANCE_S:
                raise
    if container.format.name in STATE_DURATION:
        stated_s = (
            float(audio.duration * audio.time_base) if audio.duration else (container.duration or 0) / 1e6
        )
        if stated_s - end_s > TOLERANCE_S:
            raise ValueError(
                f"is cut off: it ends at {end_s:.3f} s of the {stated_s:.3f} s that its header states"
            )


class _Writer:
    """Writer of frames as samples of the first frame's rate and channels, because headers are not trusted."""

    def __init__(self, sink: BinaryIO, header: dict[str, int], *, fills_gaps: bool) -> None:
        self._sink = sink
        self._header = header
        self._fills_gaps = fills_gaps
        self._target: Any = None
        self._resampler: Any = None
        self._kind: tuple[int, str] | None = None  # rate and channels of the frames that the resampler takes
        self._end_s: float | None = None

    def add(self, frame: Any) -> None:
        if self._target is None:
            self._target = {"rate": frame.sample_rate, "layout": frame.layout}
            header = self._header | {
                "rate_hz": frame.sample_rate,
                "channels": frame.layout.nb_channels,
            }
            self._sink.write(json.dumps(header).encode() + b"\n")
        kind = _kind(frame)
        if kind != self._kind:
            self._restart(kind)
        if self._fills_gaps and frame.time is not None:
            if self._end_s is not None and frame.time - self._end_s > TOLERANCE_S:
                self._restart(kind)
                self._write_silence(frame.time - self._end_s)
            self._end_s = frame.time + frame.samples / frame.sample_rate
        frame.pts = None  # the resampler fills gaps with noise of its own
        self._write(self._resampler.resample(frame))

    def finish(self) -> None:
        """Write what the resampler holds.

        Raises:
            ValueError: no frame was added.
        """
        if self._target is None:
            raise ValueError("holds no samples")
        self._write(self._resampler.resample(None))

    def _restart(self, kind: tuple[int, str]) -> None:
        import av

        if self._resampler is not None:
            self._write(self._resampler.resample(None))
        self._resampler = av.AudioResampler(format="flt", **self._target)
        self._kind = kind

    def _write(self, frames: list[Any]) -> None:
        for frame in frames:
            # A plane is padded at its end.
            self._sink.write(memoryview(frame.planes[0])[: frame.samples * frame.layout.nb_channels * 4])

    def _write_silence(self, seconds: float) -> None:
        left = round(seconds * self._target["rate"])
        while left > 0:
            self._sink.write(bytes(min(left, SILENCE_SAMPLES) * self._target["layout"].nb_channels * 4))
            left -= SILENCE_SAMPLES


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
