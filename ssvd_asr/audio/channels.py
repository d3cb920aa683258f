"""Mixer of channels to one, so that no channel cancels another.

The mix is the mean of the channels.  A channel that would cancel the others is added with its sign changed.
Where the wires of one channel of a stereo cable are swapped, for example, the mean would be silence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ssvd_asr.audio.source import BLOCK_SAMPLES

FloatArray = npt.NDArray[np.float32]

BLOCK_S = 0.2  # each such block chooses signs; many channels at a high rate have shorter blocks
# Channels cancel where the energy of their sum is below this share of the sum of their energies.  The share
# is 1 for unrelated channels and for a channel beside silent ones, and the number of channels for equal ones.
CANCELLING_SHARE = 0.25
QUIET_POWER = 1e-6  # mean square, -60 dB: quieter blocks keep the signs of the block before
FADE_S = 0.01  # from one sign to the other, so that a change does not click
SILENT_AMPLITUDE = 0.01  # of the loudest channel's: channels below it do not count in the mean


class Mixer:
    """Mixes blocks of (frames, channels) to (frames,). Channels without sound do not lower the mix.

    Each sign is kept until the channels cancel under it.  Offsets (DC) do not count as energy.
    """

    def __init__(self, channels: int, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._block_frames = max(1, min(round(BLOCK_S * rate_hz), BLOCK_SAMPLES // channels))
        self._signs = np.ones(channels, np.float32)
        self._energies = np.zeros(channels)  # of each channel, so far
        self._rest = np.empty((0, channels), np.float32)  # too few frames for a block
        self._cancelling_frames = 0
        self._frames = 0

    def add(self, frames: FloatArray) -> FloatArray:
        """Return the mix of all whole blocks; the frames left wait for the next call."""
        frames = np.concatenate([self._rest, frames])
        count = len(frames) // self._block_frames
        whole = count * self._block_frames
        self._rest = frames[whole:].copy()
        return self._mixed(frames[:whole].reshape(count, self._block_frames, len(self._signs)))

    def finish(self) -> FloatArray:
        """Return the mix of the frames that are left."""
        if self._frames and 2 * len(self._rest) < self._block_frames:  # too short to judge
            return _mean(self._rest, self._signs)
        return self._mixed(self._rest[np.newaxis])

    @property
    def gain(self) -> float:
        """Factor of the whole mix: the number of channels, divided by the number of those with sound."""
        return len(self._signs) / (len(self._signs) - len(self._silent))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences on channels that were silent, or that would have cancelled each other."""
        found = []
        if self._silent:
            named = ", ".join(map(str, self._silent))
            found.append(f"Silent, so not counted in the mix of {len(self._signs)} channels: channel {named}")
        if self._cancelling_frames:
            found.append(
                "The mean of the channels cancels what they hold in "
                f"{self._cancelling_frames / self._rate_hz:.1f} s of {self._frames / self._rate_hz:.1f} s: "
                "there, a channel was added with its sign changed"
            )
        return tuple(found)

    @property
    def _silent(self) -> list[int]:
        loudest = self._energies.max()
        return np.flatnonzero(self._energies < SILENT_AMPLITUDE**2 * loudest).tolist()

    def _mixed(self, blocks: FloatArray) -> FloatArray:
        """Mix (blocks, frames, channels) and count what cancels."""
        count, length, _ = blocks.shape
        centred = blocks - blocks.mean(axis=1, keepdims=True)
        energies = np.einsum("bfc,bfc->bc", centred, centred, dtype=np.float64)
        self._energies += energies.sum(axis=0)
        self._frames += count * length
        enough = np.where(energies.sum(axis=1) > QUIET_POWER * length, energies.sum(axis=1), 0.0)
        self._cancelling_frames += length * int(_cancelling(centred, np.ones_like(self._signs), enough).sum())
        mix = np.empty((count, length), np.float32)
        start = 0
        while start < count:
            cancelling = _cancelling(centred[start:], self._signs, enough[start:])
            stop = start + int(cancelling.argmax()) if cancelling.any() else count
            mix[start:stop] = _mean(blocks[start:stop], self._signs)
            if stop < count:
                before, self._signs = self._signs, _signs(centred[stop], energies[stop], self._signs)
                mix[stop] = _mean(blocks[stop], self._fade(before, length))
            start = stop + 1
        return mix.reshape(-1)

    def _fade(self, before: FloatArray, length: int) -> FloatArray:
        """Return signs (frames, channels) that move from those before to today's at the start of a block."""
        steps = max(1, round(FADE_S * self._rate_hz))
        share = np.minimum(np.arange(1, length + 1, dtype=np.float32) / steps, 1)[:, np.newaxis]
        signs: FloatArray = before + share * (self._signs - before)
        return signs


def _mean(blocks: FloatArray, signs: FloatArray) -> FloatArray:
    """Return the mean of the channels, the last axis, under signs."""
    signed = blocks if (signs == 1).all() else blocks * signs
    mean: FloatArray = signed.mean(axis=-1, dtype=np.float32)
    return mean


def _cancelling(
    centred: FloatArray, signs: FloatArray, energies: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which blocks of (blocks, frames, channels) cancel under these signs.

    Args:
        energies: (blocks,) the sum of the channels' energies; 0 for a block that is too quiet to count.
    """
    summed = centred @ signs  # (blocks, frames)
    cancelling: npt.NDArray[np.bool_] = np.einsum("bf,bf->b", summed, summed) < CANCELLING_SHARE * energies
    return cancelling


def _signs(centred: FloatArray, energies: npt.NDArray[np.float64], before: FloatArray) -> FloatArray:
    """Return signs under which the channels of a block (frames, channels) do not cancel.

    The loudest channel keeps its sign.  The others follow in order of loudness, each with the sign under
    which it adds to those before it, so that the energy of the sum is at least the sum of the energies.
    """
    order = np.argsort(-energies, kind="stable")
    signs = np.ones_like(before)
    signs[order[0]] = before[order[0]]
    summed = signs[order[0]] * centred[:, order[0]]
    for channel in order[1:]:
        signs[channel] = -1 if summed @ centred[:, channel] < 0 else 1
        summed = summed + signs[channel] * centred[:, channel]
    return signs
