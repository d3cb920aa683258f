"""Mount of a batch: the slots of its rows, checked again when the batch is launched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ssvd_asr.mixing.core_stack import BASE_SLOT, CoreStack


@dataclass(frozen=True)
class Place:
    """A version's slot. The generation tells apart versions that had the same slot one after another."""

    slot: int
    generation: int


@dataclass(frozen=True)
class Row:
    """The version and slot of a row. The base has slot 0 and no digest."""

    sha256: str | None
    slot: int
    generation: int


BASE_ROW = Row(None, BASE_SLOT, 0)


@dataclass(frozen=True, eq=False)
class Mount:
    """The rows of one batch, in order, and the stack that holds their cores (None: all rows are the base)."""

    stack: CoreStack | None
    rows: tuple[Row, ...]
    _place: Callable[[str], Place | None]  # where a version is now

    def launch(self) -> list[int]:
        """Return the slots of the rows. Call it when they are used.

        Raises RuntimeError if a slot no longer holds the version of its row. Otherwise the row would be
        decoded in another domain.
        """
        for row in self.rows:
            if row.sha256 is not None and self._place(row.sha256) != Place(row.slot, row.generation):
                raise RuntimeError(f"slot {row.slot} no longer holds {row.sha256} ({row.generation})")
        return [row.slot for row in self.rows]
