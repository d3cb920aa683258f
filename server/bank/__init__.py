"""Bank: adapters in memory, packed on the host and as cores in slots of the device, and leases on them.

Imports `server.errors`, `adapters_store` and `ssvd_asr`.
"""
