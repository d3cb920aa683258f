"""From encoder output to words: greedy and beam search, CTC scores, hypotheses.

Imports `mixing` and what lies below it; not `ssvd_asr.adapted_model`.
"""
