"""Settings of where adapters are, and how they come there."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from adapters_store.remote_storage import Elsewhere
from adapters_store.store import MAX_ADAPTER_BYTES


class StoreSettings(BaseModel):
    """The store, and the doors through which adapters come into it while the server runs."""

    store: str | Path | None = Field(
        default=None,
        description="Where published adapters are: a folder, `s3://bucket/prefix` or "
        "`hf://owner/repository`; empty means the user's own folder (path or URL).",
    )
    store_refresh_s: float = Field(
        default=Elsewhere.refresh_s,
        ge=0,
        description="With a store at a URL, how old what is known of it may be: a change made elsewhere is "
        "seen after so long (seconds).",
    )
    store_cache_max_bytes: int = Field(
        default=Elsewhere.cache_max_bytes,
        gt=0,
        description="With a store at a URL, adapter files that are kept on this machine, in "
        "`SSVD_CACHE_DIR` (bytes).",
    )
    watch: Path | None = Field(
        default=None,
        description="Folder in which adapter files put as NAME.safetensors are published as NAME; empty "
        "watches none (path).",
    )
    max_adapter_bytes: int = Field(
        default=MAX_ADAPTER_BYTES,
        gt=0,
        le=MAX_ADAPTER_BYTES,
        description="Largest request that publishes an adapter over HTTP; more is 413 (bytes).",
    )

    @property
    def elsewhere(self) -> Elsewhere:
        """How a store at a URL is read."""
        return Elsewhere(self.store_refresh_s, self.store_cache_max_bytes)
