"""Folder of what is cached on this machine: factors of bases, and adapters of a store elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "SSVD_CACHE_DIR"


def cache_root(cache_dir: Path | str | None = None) -> Path:
    """Return the cache's folder: the argument, else SSVD_CACHE_DIR, else platformdirs' user cache folder."""
    if cache_dir is not None:
        return Path(cache_dir)
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    import platformdirs

    return Path(platformdirs.user_cache_dir("ssvd-asr", appauthor=False))
