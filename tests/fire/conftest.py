"""A server of its own process, with limits that a test can reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fire.hostile import LIMITS
from tests.server.conftest import clip  # noqa: F401
from tests.server.served import Served


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`child` has one version, and `scottish` none."""
    served = Served(tmp_path_factory.mktemp("fire"), **LIMITS)
    served.store.publish("child", served.adapter)
    yield served
    served.close()
