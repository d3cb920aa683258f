"""Decoding child of ffmpeg.py: a file on stdin, a JSON header line and float32 samples on stdout.

It is run as a script, with the limits in bytes and seconds as arguments.  It imports neither numpy nor this
package, because every m4a pays for its start.  FFmpeg knows hundreds of formats; some open other files or
addresses (playlists, concat scripts) or decode pictures.  Only the containers and decoders named here are
tried, and no protocol.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any, BinaryIO

EXIT_UNREADABLE = 3
EXIT_MEMORY = 4
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aac", "amr", "asf", "wav", "flac", "caf", "mp3",
    "mpegts", "mpeg", "flv", "avi", "mxf", "rm", "ac3", "eac3", "wv", "tta", "loas", "w64",
)  # fmt: skip
STATE_DURATION = (  # if FFmpeg does not say that it guesses
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "asf", "flv", "avi", "mxf", "rm", "wv", "tta", "mp3", "caf",
)  # fmt: skip
HAVE_GAPS = (  # their timestamps may jump over silence
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "mpeg", "flv", "asf",
)  # fmt: skip
OF_SAMPLES = ("wav", "caf", "w64")  # their packets are of any size: the last one is short, not corrupt
CHECKED_BY_FRAMES = ("mp3",)  # by the parent: FFmpeg calls tags between joined files an error
# FFmpeg's words for the second of two joined WebM files that state no size; it reads both.
NEW_SEGMENT = re.compile(r"ID 0x(18538067|1A45DFA3) ", re.IGNORECASE)
UNWRITTEN_SIZES = (bytes(4), b"\xff" * 4)  # of an AVI from a pipe: nor is its duration written
GUESSED = "Estimating duration"  # FFmpeg's words for a duration that no header states
# AMR frames of a description of noise, or of nothing, while nobody speaks.  FFmpeg refuses them.
PAUSES = {"amrnb": (8, 9, 10, 11, 15), "amrwb": (9, 14, 15)}  # kinds of frames
PAUSE = "pause"
AMR_FRAME_SAMPLES = {"amrnb": 160, "amrwb": 320}
STATE_PACKETS = ("caf",)  # the duration of each, and a jump over silence would be no gap
HAVE_CHECKSUMS = ("ac3", "eac3", "flac", "tta", "wavpack")  # FFmpeg checks them only if it is told to
INTERPOLATE_TIMES = ("mpegts", "mpeg")  # few of their packets have a time, and FFmpeg adds the others'
MAY_RESTART = "matroska,webm"  # in other containers FFmpeg starts the decoder anew itself
RESTART_S = 1.0  # packets whose time goes back by more begin another file
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
    """Decode stdin to stdout and return the exit status.

    The last words on stderr are an error's reason, or JSON on the silence that was written.
    """
    words = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries may fill stderr, which the parent reads last
    import av  # noqa: F401  # before the limits, which are meant for the file

    _limit_resources(max_bytes, max_cpu_s)
    try:
        words.write(json.dumps(_decode(sys.stdin.buffer, sys.stdout.buffer)))
        words.flush()
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
    if isinstance(error, av.error.FFmpegError) and error.strerror.startswith("Error number"):
        return "is cut off or damaged, or its codec changes on the way"
    return str(getattr(error, "strerror", None) or error)


def _limit_resources(max_bytes: int, max_cpu_s: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (max_cpu_s, max_cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(source: BinaryIO, sink: BinaryIO) -> dict[str, float]:
    """Write the first track with sound, and return what of it is silence that no packet holds."""
    with _opened(source) as (container, _):
        tracks, name = len(container.streams.audio), container.format.name
        # Audio may start after the pictures.
        starts_s = _first_time_s(container) if len(container.streams) > tracks else None
    track = _first_with_sound(source, tracks) if tracks > 1 else 0
    with _opened(source) as (container, states_duration):
        header = {"track": track, "tracks": tracks, "container": name}
        writer = _Writer(sink, header, name, starts_s)
        for frame in _frames(container, track, states_duration):
            writer.add(frame)
        writer.finish()
    sink.flush()
    return {"gaps": writer.gaps, "gap_s": writer.gap_s, "pauses_s": writer.pauses_s}


def _first_time_s(container: Any) -> float:
    """Return the earliest time of any stream up to the first packet of audio."""
    first_s = float("inf")
    for packet in container.demux():
        if packet.pts is not None:
            first_s = min(first_s, float(packet.pts * packet.time_base))
            if packet.stream.type == "audio":
                break
    return first_s


def _first_with_sound(source: BinaryIO, tracks: int) -> int:
    """Return the first audio track with a sample over SILENT_LEVEL; 0 if all are silent."""
    import av

    for track in range(tracks):
        with _opened(source) as (container, states_duration):
            for _, frames in groupby(_frames(container, track, states_duration), _kind):
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


@contextmanager
def _opened(source: BinaryIO) -> Iterator[tuple[Any, bool]]:
    """Yield the container, opened from the start of the source, and whether it states its duration.

    Raises:
        ValueError: it is none of CONTAINERS, or has no audio.
    """
    import av

    source.seek(0)
    head = source.read(8)
    source.seek(0)
    options = {
        "format_whitelist": ",".join(CONTAINERS),
        "codec_whitelist": ",".join(DECODERS),
        "protocol_whitelist": "",
    }
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as messages:
            container = av.open(source, "r", options=options)
    except av.error.ArgumentError as error:
        raise ValueError("it has none of the formats that are read") from error
    guessed = any(text.startswith(GUESSED) for _, _, text in messages)
    with container:
        if not container.streams.audio:
            raise ValueError(f"no audio stream in this {container.format.long_name} file")
        unwritten = container.format.name == "avi" and head[4:] in UNWRITTEN_SIZES
        yield container, container.format.name in STATE_DURATION and not guessed and not unwritten


def _frames(container: Any, track: int, states_duration: bool) -> Iterator[Any]:
    """Yield the decoded frames of an audio track.

    Raises:
        ValueError: its codec is not one of DECODERS, FFmpeg calls something an error, the packets end before
            the duration that the container states, or packets of an MP3 with more than TOLERANCE_S of audio
            cannot be decoded.
        av.error.InvalidDataError: a packet of another container cannot be decoded.
    """
    import av

    audio, name = container.streams.audio[track], container.format.name
    codec = audio.codec_context.codec.name
    if codec not in DECODERS:
        raise ValueError(f"codec {codec!r} is not one of {DECODERS}")
    if codec in HAVE_CHECKSUMS:
        audio.codec_context.options = {"err_detect": "crccheck+explode"}
    end_s = last_s = lost_s = decoded_s = short_s = missing_s = 0.0
    with av.logging.Capture() as messages:
        for packet in container.demux():
            _check_complaints(messages, (name, codec), end_s)
            # A container that states no duration of the audio states that of its longest stream.
            if packet.pts is not None and (packet.stream is audio or audio.duration is None):
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not audio:
                continue
            if packet.pts is not None and name == MAY_RESTART:
                start_s = float(packet.pts * packet.time_base)
                if last_s - start_s > RESTART_S:  # FFmpeg would keep the state of the file before
                    audio.codec_context.flush_buffers()
                last_s = start_s
            if packet.is_corrupt and name not in OF_SAMPLES:
                raise ValueError(f"is cut off or damaged at {end_s:.3f} s")
            missing_s += short_s  # of the packets but the first and the last, which encoders fill up
            begun, before_s = decoded_s > 0, decoded_s
            try:
                for frame in _decoded(packet, codec):
                    decoded_s += frame.samples / frame.sample_rate
                    yield frame
            except av.error.InvalidDataError:
                # Between joined MP3 files lie tags, which the demuxer takes for packets.
                lost_s += float((packet.duration or 0) * packet.time_base)
                if name not in CHECKED_BY_FRAMES or lost_s > TOLERANCE_S:
                    raise
            stated_s = float((packet.duration or 0) * packet.time_base)
            short_s = stated_s - (decoded_s - before_s) if begun and name in STATE_PACKETS else 0.0
        _check_complaints(messages, (name, codec), end_s)
    if missing_s > TOLERANCE_S:
        raise ValueError(f"is damaged: its packets lack {missing_s:.3f} s of what its header states")
    if states_duration:
        stated_s = (
            float(audio.duration * audio.time_base) if audio.duration else (container.duration or 0) / 1e6
        )
        end_s = max(end_s, decoded_s)  # some packets state too short a duration
        if stated_s - end_s > TOLERANCE_S:
            raise ValueError(
                f"is cut off: it ends at {end_s:.3f} s of the {stated_s:.3f} s that its header states"
            )


def _decoded(packet: Any, codec: str) -> Iterator[Any]:
    """Yield a packet's frames; of an AMR pause, a frame of silence as long as the packet."""
    if packet.size and bytes(packet)[0] >> 3 & 15 in PAUSES.get(codec, ()):
        frame = _silence(AMR_FRAME_SAMPLES[codec], packet.stream.codec_context)
        frame.opaque = PAUSE
        yield frame
    else:
        yield from packet.decode()


def _check_complaints(messages: list[tuple[int, str, str]], names: tuple[str, str], end_s: float) -> None:
    """Raise ValueError if FFmpeg called something an error that it goes on after, such as lost bytes."""
    import av

    for level, source, text in messages:
        serious = level <= av.logging.ERROR and source in names and not NEW_SEGMENT.search(text)
        if serious and names[0] not in CHECKED_BY_FRAMES:
            raise ValueError(f"is cut off or damaged at {end_s:.3f} s: {text.strip()}")
    messages.clear()


class _Writer:
    """Writer of frames as samples of the first frame's rate and channels, because headers are not trusted."""

    def __init__(
        self, sink: BinaryIO, header: dict[str, Any], container: str, starts_s: float | None
    ) -> None:
        """Fill gaps between the frames, and one from starts_s to the first."""
        self.gaps = 0
        self.gap_s = 0.0
        self.pauses_s = 0.0
        self._sink = sink
        self._header = header
        self._target: Any = None
        self._resampler: Any = None
        self._kind: tuple[int, str] | None = None  # rate and channels of the frames that the resampler takes
        self._fills_gaps = container in HAVE_GAPS
        self._interpolated = container in INTERPOLATE_TIMES
        self._end_s = starts_s

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
        if frame.opaque == PAUSE:
            self.pauses_s += frame.samples / frame.sample_rate
        if self._fills_gaps and frame.time is not None:
            late_s = 0.0 if self._end_s is None else frame.time - self._end_s
            if late_s > TOLERANCE_S:
                self._write_silence(late_s, frame)
            # Small gaps count together. A file joined to another starts its clock anew.
            if self._end_s is None or self._interpolated or abs(late_s) > TOLERANCE_S:
                self._end_s = frame.time
            self._end_s += frame.samples / frame.sample_rate
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

    def _write_silence(self, seconds: float, like: Any) -> None:
        self.gaps += 1
        self.gap_s += seconds
        left = round(seconds * like.sample_rate)
        while left > 0:
            samples = min(left, SILENCE_SAMPLES)
            self._write(self._resampler.resample(_silence(samples, like)))
            left -= samples


def _silence(samples: int, like: Any) -> Any:
    """Return a frame of silence, of the format, channels and rate of a frame or a codec's context."""
    import av

    frame = av.AudioFrame(like.format.name, like.layout.name, samples)
    frame.sample_rate = like.sample_rate
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
