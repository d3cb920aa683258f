"""Decoded frames of a container that FFmpeg opens, checked against what the container states.

It is imported by the decoding child alone, and imports PyAV where that is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from ssvd_asr.audio.ffmpeg_formats import (
    AMR_FRAME_SAMPLES,
    CHECKED_BY_FRAMES,
    CONTAINERS,
    DECODERS,
    HAVE_CHECKSUMS,
    MAY_RESTART,
    OF_SAMPLES,
    PAUSES,
    STATE_DURATION,
    STATE_PACKETS,
)
from ssvd_asr.audio.tolerance import TOLERANCE_S

# FFmpeg's words for the second of two joined WebM files that state no size; it reads both.
NEW_SEGMENT = re.compile(r"ID 0x(18538067|1A45DFA3) ", re.IGNORECASE)
UNWRITTEN_SIZES = (bytes(4), b"\xff" * 4)  # of an AVI from a pipe: nor is its duration written
GUESSED = "Estimating duration"  # FFmpeg's words for a duration that no header states
PAUSE = "pause"
RESTART_S = 1.0  # packets whose time goes back by more begin another file


@contextmanager
def opened_container(source: BinaryIO) -> Iterator[tuple[Any, bool]]:
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


def frames_of(container: Any, track: int, states_duration: bool) -> Iterator[Any]:
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
        frame = silence(AMR_FRAME_SAMPLES[codec], packet.stream.codec_context)
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


def kind_of(frame: Any) -> tuple[int, str]:
    """Return what a resampler cannot follow when it changes: rate and channels."""
    return frame.sample_rate, frame.layout.name


def silence(samples: int, like: Any) -> Any:
    """Return a frame of silence, of the format, channels and rate of a frame or a codec's context."""
    import av

    frame = av.AudioFrame(like.format.name, like.layout.name, samples)
    frame.sample_rate = like.sample_rate
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame
