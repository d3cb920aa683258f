"""Decoding child of ffmpeg.py: a file on stdin, a JSON header line and float32 samples on stdout.

It gets the limits in bytes and seconds as arguments.  It imports no numpy, because every m4a pays for its
start.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import groupby
from typing import Any, BinaryIO

from ssvd_asr.audio.ffmpeg_frames import (
    frames_of,
    kind_of,
    opened_container,
)
from ssvd_asr.audio.ffmpeg_writer import SampleWriter

EXIT_UNREADABLE = 3
EXIT_MEMORY = 4
SILENCE_CHECK_HZ = 8_000
SILENT_LEVEL = 32  # of 16-bit samples, -60 dB: a track that stays below it is silent


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
    with opened_container(source) as (container, _):
        tracks, name = len(container.streams.audio), container.format.name
        # Audio may start after the pictures.
        starts_s = _first_time_s(container) if len(container.streams) > tracks else None
    track = _first_with_sound(source, tracks) if tracks > 1 else 0
    with opened_container(source) as (container, states_duration):
        header = {"track": track, "tracks": tracks, "container": name}
        writer = SampleWriter(sink, header, name, starts_s)
        for frame in frames_of(container, track, states_duration):
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
        with opened_container(source) as (container, states_duration):
            for _, frames in groupby(frames_of(container, track, states_duration), kind_of):
                integers = av.AudioResampler(format="s16", rate=SILENCE_CHECK_HZ)
                if any(_has_sound(each) for frame in frames for each in integers.resample(frame)):
                    return track
    return 0


def _has_sound(frame: Any) -> bool:
    """Return whether a frame of 16-bit samples has one over SILENT_LEVEL."""
    samples = memoryview(frame.planes[0])[: 2 * frame.samples * frame.layout.nb_channels].cast("h")
    return len(samples) > 0 and max(max(samples), -min(samples)) > SILENT_LEVEL
