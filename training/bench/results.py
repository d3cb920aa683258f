"""File of results, one JSON object a line, to which one process at a time adds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ssvd_asr.errors import DataError, SsvdError


@dataclass(frozen=True)
class ResultsFile:
    """A file of results, which need not exist yet. named: fields that every result has."""

    path: Path
    named: frozenset[str]

    def read(self) -> list[dict[str, Any]]:
        """Return all results. Raises DataError for a line that is none."""
        if not self.path.exists():
            return []
        found = []
        text = self.path.read_text(encoding="utf-8")
        # A last line without newline was cut off when the process was killed; `add` removes it.
        for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
            try:
                result = json.loads(line)
            except ValueError as error:
                raise DataError(f"{self.path}:{number}: not a result: {error}") from error
            if not isinstance(result, dict) or not result.keys() >= self.named:
                raise DataError(
                    f"{self.path}:{number}: not a result: no object with {', '.join(sorted(self.named))}"
                )
            found.append(result)
        return found

    def by_key(self) -> dict[str, dict[str, Any]]:
        """Return the last result of each key."""
        return {str(result["key"]): result for result in self.read()}

    def add(self, result: Mapping[str, Any]) -> None:
        """Append a result, in place of a line that was cut off."""
        with self.path.open("ab+") as stream:
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(json.dumps(result).encode() + b"\n")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to add. Raises SsvdError if another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.path}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise SsvdError(f"another process is adding results to {self.path}") from error
        try:
            yield
        finally:
            lock.release()
