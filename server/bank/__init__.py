"""Adapters in memory: packed on the host, as cores in slots of the device, and leases on them.

Imports `server.errors`, `adapters_store` and `ssvd_asr`.
"""
