"""What a row of a batch was built for, held from then until it is launched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ssvd_asr.mixing.core_stack import BASE_SLOT, CoreStack


@dataclass(frozen=True)
class Place:
    """A version's slot. The generation tells apart two versions that had it one after the other."""

    slot: int
    generation: int


@dataclass(frozen=True)
class Row:
    """What a row of a batch was built for. The base has no digest and slot 0."""

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
        """The slots of the rows, at the moment they are used.

        Raises RuntimeError where a slot no longer holds what its row was built for; nobody may see words of
        another's domain.
        """
        for row in self.rows:
            if row.sha256 is not None and self._place(row.sha256) != Place(row.slot, row.generation):
                raise RuntimeError(f"slot {row.slot} no longer holds {row.sha256} ({row.generation})")
        return [row.slot for row in self.rows]
