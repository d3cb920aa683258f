"""Log of a run: one JSON object per line, and TensorBoard curves of the same numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Self

FILE_NAME = "log.jsonl"


class SilentLog:
    """The log of a process that writes none."""

    def write(self, kind: str, step: int, values: dict[str, float | int | None]) -> None:
        """Do nothing."""

    def position(self) -> int:
        """Return 0 bytes."""
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class TrainingLog:
    """Lines of `log.jsonl` and scalars under `tensorboard/` in a run's folder.

    A resumed run removes the lines after its checkpoint, so each step is in the log once.
    """

    def __init__(self, directory: Path, *, keep_bytes: int = 0, first_step: int = 0) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        directory.mkdir(parents=True, exist_ok=True)
        self._stream = (directory / FILE_NAME).open("ab")
        self._stream.truncate(keep_bytes)
        self._stream.seek(0, 2)
        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=first_step or None)

    def write(self, kind: str, step: int, values: dict[str, float | int | None]) -> None:
        """Write one event, e.g. ("train", 100, {"loss": ...}); TensorBoard shows `<kind>/<name>`.

        A number that is not finite becomes null, because JSON has no word for it.
        """
        finite = {
            name: value if value is None or math.isfinite(value) else None for name, value in values.items()
        }
        line = json.dumps({"event": kind, "step": step, **finite}, allow_nan=False)
        self._stream.write(line.encode() + b"\n")
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def position(self) -> int:
        """Flush the log and return its length in bytes."""
        self._stream.flush()
        return self._stream.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._writer.close()
