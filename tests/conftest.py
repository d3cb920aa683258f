"""What no test may touch: the keys and the audit log of whoever runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from adapters_store.audit import AUDIT_VARIABLE


@pytest.fixture(autouse=True, scope="session")
def _own_keys_and_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands that tests start as processes inherit these too."""
    folder = tmp_path_factory.mktemp("own")
    names = {"SSVD_KEYS": folder / "keys.json", AUDIT_VARIABLE: folder / "audit.jsonl"}
    with pytest.MonkeyPatch.context() as patch:
        for name, path in names.items():
            patch.setitem(os.environ, name, str(path))
        yield
