"""Training data: checked utterances, targets and batches.

Imports `training.recipe` and `ssvd_asr`.
"""
