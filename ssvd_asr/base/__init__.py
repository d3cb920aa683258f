"""The frozen base model: reading a checkpoint, its network, tokens, prompts and digest.

Imports `audio`, `ssvd_asr.device` and `ssvd_asr.errors`. Importing this file loads neither torch nor ESPnet.
"""
