"""What holds for all tests: no line goes to the audit log of who runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from adapters_store.audit import AUDIT_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _own_audit_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The log of changes, also of the processes that tests start."""
    before = os.environ.get(AUDIT_VARIABLE)
    os.environ[AUDIT_VARIABLE] = str(tmp_path_factory.mktemp("audit") / "audit.jsonl")
    yield
    del os.environ[AUDIT_VARIABLE]
    if before is not None:
        os.environ[AUDIT_VARIABLE] = before
