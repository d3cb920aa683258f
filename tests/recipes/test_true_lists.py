"""Each kind of manifest on the page of what is read is understood, or told not to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipes.espeak.manifest_kinds import ManifestKind, manifest_kinds
from recipes.espeak.true_lists import read


@pytest.mark.parametrize("kind", list(manifest_kinds()), ids=lambda kind: kind.name)
def test_a_kind_of_manifest_is_what_it_says_or_is_refused(tmp_path: Path, kind: ManifestKind) -> None:
    kind.write(tmp_path)
    found = read(tmp_path / kind.source)
    if kind.refused:
        assert "refused" in found, found
    else:
        assert tuple(found["used"]) == kind.used, found
        assert len(found["left_out"]) == kind.left_out, found
