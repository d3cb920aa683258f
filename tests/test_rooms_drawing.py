"""The drawing in docs/structure.md shows every unit of the table, and each import once."""

from __future__ import annotations

import pytest

from tests.rooms import FLOORS
from tests.rooms_drawing import BEGIN, END, drawing, written


def test_an_arrow_that_others_imply_is_left_out() -> None:
    imports = {
        "server/app.py": {"server/api/form.py", "server/errors.py", "ssvd_asr/device.py"},
        "server/api/form.py": {"server/errors.py", "server/api/naming.py"},
    }
    arrows = [line.strip() for line in drawing("server", imports).splitlines() if "-->" in line]
    assert arrows == ["unit_app --> unit_api", "unit_api --> unit_errors"]


@pytest.mark.parametrize("package", FLOORS)
def test_every_unit_is_drawn(package: str) -> None:
    drawn = drawing(package, {})
    units = [unit for floor in FLOORS[package] for unit in floor if unit != "__init__"]
    assert all(f"unit_{unit.rstrip('/')}" in drawn for unit in units)


def test_a_page_keeps_what_stands_around_the_drawing() -> None:
    made = written(f"before\n{BEGIN}\nold\n{END}\nafter")
    assert made.startswith(f"before\n{BEGIN}\n")
    assert made.endswith(f"{END}\nafter")
    assert "\nold\n" not in made
    assert written(made) == made


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        written("no marks")
