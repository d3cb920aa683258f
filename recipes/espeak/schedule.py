"""What changes during owsm-nano's training: rate, lengths, padding, the weight of CTC."""

from __future__ import annotations

PEAK_LR = 1e-3
WARMUP_STEPS = 200
PHONEME_STEPS = 1500
GUIDED_FROM = 7_600  # CTC has aligned
COOLDOWN_FRACTION = 0.35


def learning_rate(step: int, steps: int, first_step: int = 0) -> float:
    """Linear warm-up from ``first_step``, plateau, linear cool-down over the last COOLDOWN_FRACTION."""
    cooldown = COOLDOWN_FRACTION * (steps - first_step)
    warmup = (step - first_step + 1) / WARMUP_STEPS
    return PEAK_LR * min(1.0, warmup, max(0.0, (steps - step) / cooldown))


def longest_s(step: int) -> float:
    """Short sentences first: CTC and the attention decoder align on them before they meet long ones."""
    return min(15.0, 3.0 + max(0, step - 1000) / 80)


def batch_s(step: int) -> float:
    """Seconds of padded audio a step: until something is aligned, more steps teach more than larger ones."""
    return 24.0 if step < 1500 else 48.0


def padded_share(step: int) -> float:
    """None at first: windows of silence gave gradients ten times as large, and the encoder collapsed."""
    return 0.3 * min(1.0, max(0, step - 1500) / 1000)


def joined_share(step: int) -> float:
    """Of the utterances, those spoken in one row with others, once all lengths are in.

    The grammar seldom says more than twelve words, and the decoder looped on what it seldom met.
    """
    return 0.6 if longest_s(step) >= 15.0 else 0.0


def ctc_weight(step: int) -> float:
    """CTC leads until it has aligned; the decoder is slower to learn and then has most of the gradient."""
    return 0.5 if step < GUIDED_FROM else 0.3
