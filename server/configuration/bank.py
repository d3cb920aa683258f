"""Settings of domains in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from ssvd_asr.mixing.compression import Compression


class BankSettings(BaseModel):
    """Memory of the device and the host, and loading."""

    bank_max_bytes: int = Field(
        default=2 * 2**30,
        gt=0,
        description="Memory of the device for domains as it computes with them; "
        "beyond it the least recently used leave first (bytes).",
    )
    bank_host_max_bytes: int = Field(
        default=2 * 2**30,
        gt=0,
        description="Memory of the host for domains packed as in their files; what waiting requests need "
        "stays, and where it leaves no room it is 503 (bytes).",
    )
    bank_max_blends: int = Field(
        default=32,
        ge=1,
        description="Blends, as child*0.8+scottish*0.8, in use at the same time; more are 503 (blends).",
    )
    hot_max_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Memory of the device for merged weights of the domains asked for most; by default "
        "256 MiB, on a GPU a quarter of its memory (bytes).",
    )
    basis_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Of each layer's singular directions, how many the device holds; a domain that turns "
        "others, as every one of tail directions does, is refused (share of 1).",
    )
    compressed_rank: int = Field(
        default=0,
        ge=0,
        description="Rank at which the cores of domains are held; 0 holds them whole. Saves memory of the "
        "device, and is not exact (rank).",
    )
    compressed_max_error: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="With a compressed_rank, the most that a core may lose of its norm; a domain that loses "
        "more is refused (share of 1).",
    )
    load_timeout_s: float = Field(
        default=60.0, gt=0, description="Longest that loading a domain may take; then it is 503 (seconds)."
    )
    preload: bool = Field(
        default=True,
        description="Whether domains are loaded at the start, as far as they fit, and not only with their "
        "first request (true or false).",
    )

    @property
    def compression(self) -> Compression | None:
        """How cores are compressed; None holds them whole."""
        from ssvd_asr.mixing.compression import (
            Compression,  # it imports torch, which `ssvd keys` does without
        )

        return Compression(self.compressed_rank, self.compressed_max_error) if self.compressed_rank else None
