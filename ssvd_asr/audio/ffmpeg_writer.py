"""Writer of decoded frames as float32 samples, with silence where the container's clock leaves some out."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from ssvd_asr.audio.ffmpeg_formats import (
    HAVE_GAPS,
    INTERPOLATE_TIMES,
)
from ssvd_asr.audio.ffmpeg_frames import PAUSE, kind_of, silence
from ssvd_asr.audio.tolerance import TOLERANCE_S

SILENCE_SAMPLES = 2**16


class SampleWriter:
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
        kind = kind_of(frame)
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
            self._write(self._resampler.resample(silence(samples, like)))
            left -= samples
