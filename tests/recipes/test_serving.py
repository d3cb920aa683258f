"""The server of a recipe's measurement."""

from __future__ import annotations

import pytest

from recipes.serving import running_server
from ssvd_asr.errors import SsvdError


def test_a_server_that_ends_at_its_start_is_an_error_with_its_status() -> None:
    with (
        pytest.raises(SsvdError, match="`ssvd serve` ended with 2 before it was ready"),
        running_server("--no-such-option", quiet=True),
    ):
        pass
