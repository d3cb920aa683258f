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
from typing import Any, BinaryIO

EXIT_UNREADABLE = 3
EXIT_MEMORY = 4
CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "ogg", "aac", "amr", "asf", "wav", "flac", "caf")
DECODERS = (
    "aac", "alac", "opus", "libopus", "vorbis", "flac", "mp3", "mp3float", "amrnb", "amrwb",
    "wmav1", "wmav2", "wmapro", "ac3", "eac3", "speex",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be",
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
        words.write(str(getattr(error, "strerror", None) or error)[:1000])
        words.flush()
        return EXIT_UNREADABLE
    return 0


def _limit_resources(max_bytes: int, max_cpu_s: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (max_cpu_s, max_cpu_s))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(source: BinaryIO, sink: BinaryIO) -> None:
    import av

    options = {
        "format_whitelist": ",".join(CONTAINERS),
        "codec_whitelist": ",".join(DECODERS),
        "protocol_whitelist": "",
    }
    with av.open(source, "r", options=options) as container:
        if not container.streams.audio:
            raise ValueError(f"no audio stream in this {container.format.long_name} file")
        stream = container.streams.audio[0]
        codec = stream.codec_context.codec.name
        if codec not in DECODERS:
            raise ValueError(f"codec {codec!r} is not one of {DECODERS}")
        frames = container.decode(stream)
        # Take rate and channels from the first decoded frame, because headers are not trusted.
        first = next(frames, None)
        if first is None:
            raise ValueError("holds no samples")
        rate_hz, layout = first.sample_rate, first.layout
        packed = av.AudioResampler(format="flt", layout=layout, rate=rate_hz)
        sink.write(json.dumps({"rate_hz": rate_hz, "channels": layout.nb_channels}).encode() + b"\n")
        _write(packed.resample(first), sink)
        for frame in frames:
            if (frame.sample_rate, frame.layout.nb_channels) != (rate_hz, layout.nb_channels):
                raise ValueError(
                    f"changes from {rate_hz} Hz, {layout.nb_channels} channels to "
                    f"{frame.sample_rate} Hz, {frame.layout.nb_channels} channels on the way"
                )
            _write(packed.resample(frame), sink)
        _write(packed.resample(None), sink)
    sink.flush()


def _write(frames: list[Any], sink: BinaryIO) -> None:
    for frame in frames:
        # A plane is padded at its end.
        sink.write(memoryview(frame.planes[0])[: frame.samples * frame.layout.nb_channels * 4])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
