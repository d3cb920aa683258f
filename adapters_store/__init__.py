"""Store of adapters: names, versions, publishing and rolling back. Imports `ssvd_asr` only."""
