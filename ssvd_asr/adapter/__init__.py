"""One domain: its trained numbers, the cores made of them, its file, and merging it into a base.

Imports `ssvd_asr.adapted_model` and what lies below it.
"""
