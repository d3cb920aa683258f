"""Order of the rows that stay, for which a decoder copies least."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssvd_asr.base.rows import filled


@given(st.sets(st.integers(0, 20), min_size=1))
def test_no_row_that_stays_in_place_is_moved(rows: set[int]) -> None:
    order = filled(sorted(rows))
    assert set(order) == rows
    assert len(order) == len(rows)
    for place, row in enumerate(order):
        assert row == place or (row >= len(order) and place not in rows)
