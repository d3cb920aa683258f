"""Schedules of owsm-nano's training: learning rate, lengths, padding and the weight of CTC."""

from __future__ import annotations

PEAK_LR = 1e-3
WARMUP_STEPS = 200
PHONEME_STEPS = 1500
GUIDED_FROM = 7_600  # step by which CTC has aligned
COOLDOWN_FRACTION = 0.35


def learning_rate(step: int, steps: int, first_step: int = 0) -> float:
    """Return the rate: linear warm-up from ``first_step``, plateau, linear cool-down to zero.

    The cool-down takes the last COOLDOWN_FRACTION of the steps from ``first_step`` on.
    """
    cooldown = COOLDOWN_FRACTION * (steps - first_step)
    warmup = (step - first_step + 1) / WARMUP_STEPS
    return PEAK_LR * min(1.0, warmup, max(0.0, (steps - step) / cooldown))


def longest_s(step: int) -> float:
    """Return the longest sentence. Short ones come first, so that CTC and decoder align on them."""
    return min(15.0, 3.0 + max(0, step - 1000) / 80)


def batch_s(step: int) -> float:
    """Return the seconds of padded audio per step. Small steps are more efficient before alignment."""
    return 24.0 if step < 1500 else 48.0


def padded_share(step: int) -> float:
    """Return the share of batches padded up to the window, 0 at first.

    At the start, windows of silence gave gradients ten times as large, and the encoder collapsed.
    """
    return 0.3 * min(1.0, max(0, step - 1500) / 1000)


def joined_share(step: int) -> float:
    """Return the share of utterances joined in one row with others, 0 until all lengths are in.

    The grammar rarely makes sentences of more than twelve words, and the decoder looped on such rare lengths.
    """
    return 0.6 if longest_s(step) >= 15.0 else 0.0


def ctc_weight(step: int) -> float:
    """Return the weight of CTC, higher until it has aligned; the decoder learns later."""
    return 0.5 if step < GUIDED_FROM else 0.3
