"""What keeps an output from being written is told by the system's own reason and the path."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssvd_asr.errors import SsvdError
from ssvd_asr.output_paths import check_output_file, check_output_folder, naming


@pytest.mark.parametrize("check", [check_output_folder, check_output_file])
@pytest.mark.parametrize(
    ("flags", "reason"), [(os.ST_RDONLY | os.ST_NOSUID, "Read-only file system"), (0, "Permission denied")]
)
def test_a_place_that_cannot_be_written_to_is_told_by_the_systems_reason(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check: Callable[[Path, str], None],
    flags: int,
    reason: str,
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere else
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=flags))
    with pytest.raises(SsvdError, match=f"^--out {tmp_path}/new: .*{reason}"):
        check(tmp_path / "new", "--out")


def test_an_error_that_names_no_file_gets_the_path_and_another_keeps_its_own(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}'"), naming(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError, match="'own'"), naming(tmp_path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "own")
    with pytest.raises(OSError, match=r"^all is said$"), naming(tmp_path):
        raise OSError("all is said")
