"""Progress of a long command on standard error: a bar on a terminal, plain lines elsewhere.

A bar is drawn with carriage returns and escape codes. In a log file or a pipe they are noise, so there a
line is written at most every 10 s, and one at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    _Bar = tqdm[Any]
else:
    _Bar = tqdm  # takes no parameters at run time

LINE_INTERVAL_S = 10.0
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit} in {elapsed}, {remaining} left{postfix}"


def progress_bar(
    *,
    total: int,
    desc: str,
    unit: str,
    initial: int = 0,
    disable: bool = False,
    leave: bool = True,
    iterable: Iterable[Any] | None = None,
) -> tqdm[Any]:
    """Return a bar over `iterable`, or one to `update()` by hand; it is a context manager.

    Args:
        total, initial: steps in all, and those done before.
        leave: whether the bar stays on the terminal after its end, and whether a line reports the end.
    """
    options: dict[str, Any] = {
        "iterable": iterable, "total": total, "desc": desc, "unit": unit, "initial": initial,
        "disable": disable, "leave": leave,
    }  # fmt: skip
    if sys.stderr is not None and sys.stderr.isatty():
        return tqdm(**options)
    return _Lines(**options, mininterval=LINE_INTERVAL_S, miniters=1, bar_format=_LINE)


def say(bar: tqdm[Any], text: str, *, error: bool = False) -> None:
    """Print a line on standard output, or standard error, without tearing the bar on the same terminal."""
    stream = sys.stderr if error else sys.stdout
    if isinstance(bar, _Lines):
        print(text, file=stream, flush=True)
    else:
        bar.write(text, file=stream)
        stream.flush()


class _Lines(_Bar):
    """Progress in whole lines. The cursor is never moved."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        """Write a line, unless nothing has happened yet."""
        if self.n > self.initial or msg:
            self.fp.write(f"{str(self) if msg is None else msg}\n")
            self.fp.flush()

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:  # noqa: ARG002
        """Set the end of the next line, and write none for it."""
        super().set_postfix_str(s, refresh=False)

    def clear(self, nolock: bool = False) -> None:
        """Do nothing: a line that is written stays."""

    def close(self) -> None:
        """Write the last line."""
        if self.disable:
            return
        self.disable = True
        self._decr_instances(self)  # type: ignore[attr-defined]
        if self.leave:
            self.display()
