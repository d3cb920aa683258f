"""Reading audio: from a path, bytes or a stream to mono 16 kHz, and cutting it at silences.

Imports `ssvd_asr.errors` and no other room.
"""
