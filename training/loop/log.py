"""Log of a run: one JSON object per line, and TensorBoard curves of the same numbers."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ssvd_asr.output_paths import naming

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
        self._path, self._curves = directory / FILE_NAME, directory / "tensorboard"
        with ExitStack() as opened:
            opened.enter_context(_quiet_writer_thread())
            opened.enter_context(naming(self._path))
            self._stream = opened.enter_context(self._path.open("ab"))
            self._stream.truncate(keep_bytes)
            self._stream.seek(0, 2)
            with naming(self._curves):
                self._writer = SummaryWriter(str(self._curves), purge_step=first_step or None)
            self._opened = opened.pop_all()

    def write(self, kind: str, step: int, values: dict[str, float | int | None]) -> None:
        """Write one event, e.g. ("train", 100, {"loss": ...}); TensorBoard shows `<kind>/<name>`.

        A number that is not finite becomes null, because JSON has no word for it.
        """
        finite = {
            name: value if value is None or math.isfinite(value) else None for name, value in values.items()
        }
        line = json.dumps({"event": kind, "step": step, **finite}, allow_nan=False)
        with naming(self._path):
            self._stream.write(line.encode() + b"\n")
        with naming(self._curves):
            for name, value in values.items():
                if value is not None:
                    self._writer.add_scalar(f"{kind}/{name}", value, step)

    def position(self) -> int:
        """Flush the log and return its length in bytes."""
        with naming(self._path):
            self._stream.flush()
        return self._stream.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._opened, naming(self._curves):
            self._writer.close()


@contextmanager
def _quiet_writer_thread() -> Iterator[None]:
    """Print no traceback of TensorBoard's thread for an OSError, which it raises in the next call too."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        its_own = type(arguments.thread).__module__.startswith("tensorboard.")
        if not (its_own and isinstance(arguments.exc_value, OSError)):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
