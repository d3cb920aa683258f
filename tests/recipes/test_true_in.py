"""Each kind of file on the page of what is read is read wholly, or refused where no decoder can."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.espeak.audio_kinds import Kind, kinds
from recipes.espeak.true_in import measure

REFUSED = {
    "Two joined FLV files",
    "Two joined M4A files",
    "Float samples up to 6000 times full scale",
    "WAV with two blocks of samples",
    "WAV that states half of its samples",
    "FLAC that states half of its samples",
    "WMA with a hole in its packets",
    "WAV of 16 bits whose header says 24",
}
REFUSED_ENDS = ("with a hole in its middle", "cut at 70 %", "with 100 bytes zeroed")
REFUSED_START = "MP3 behind "


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.name)
def test_a_kind_of_file_is_read_wholly_or_refused(tmp_path: Path, kind: Kind) -> None:
    (tmp_path / "file").write_bytes(kind.data)
    found = measure(tmp_path)["file"]
    refused = kind.name in REFUSED or kind.name.endswith(REFUSED_ENDS) or kind.name.startswith(REFUSED_START)
    assert ("refused" in found) == refused, found
    if "refused" not in found:
        assert found["seconds"] == pytest.approx(kind.seconds, abs=0.15)
        assert found["sound_s"] == pytest.approx(kind.sound_s, abs=0.2)
