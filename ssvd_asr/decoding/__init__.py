"""From encoder output to words: greedy and beam search, CTC scores, hypotheses.

Imports `base` and what lies below it; not `ssvd_asr.adapted_model`. It names no family of bases.
"""
