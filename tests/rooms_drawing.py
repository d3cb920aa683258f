"""`python -m tests.rooms_drawing`: write the table and the drawings of the rooms into docs/structure.md.

Both are made from the table in tests/rooms.py, the rooms' docstrings and the real imports.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

from tests.rooms import FLOORS, ROOT, graph, unit_of

PAGE = ROOT / "docs" / "structure.md"
BEGIN, END = "<!-- rooms: written by python -m tests.rooms_drawing -->", "<!-- end of rooms -->"
WITHOUT_DRAWING = {"adapters_store", "ui"}  # a few files, no rooms


def section(root: Path = ROOT) -> str:
    """The generated part of the page, from BEGIN to END."""
    imports = graph(root)
    parts = [BEGIN, room_table(root)]
    for package in FLOORS:
        if package not in WITHOUT_DRAWING:
            parts.append(f"What imports what in `{package}/`; an arrow that others imply is left out.")
            parts.append(drawing(package, imports))
    return "\n\n".join([*parts, END])


def room_table(root: Path = ROOT) -> str:
    """Every room, from the top of each package, with the first line of its docstring."""
    lines = ["| room | what it holds |", "|---|---|"]
    for package, floors in FLOORS.items():
        for unit in [unit for floor in floors for unit in floor if unit.endswith("/")]:
            tree = ast.parse((root / package / unit / "__init__.py").read_text(encoding="utf-8"))
            first = (ast.get_docstring(tree) or "").partition("\n")[0]
            lines.append(f"| `{package}/{unit}` | {first} |")
    return "\n".join(lines)


def drawing(package: str, imports: Mapping[str, set[str]]) -> str:
    """A mermaid flowchart of a package's units; `__init__.py` is left out."""
    edges: dict[str, set[str]] = {}
    for file, targets in imports.items():
        if file.startswith(f"{package}/") and unit_of(file) != "__init__":
            inner = {unit_of(target) for target in targets if target.startswith(f"{package}/")}
            edges.setdefault(unit_of(file), set()).update(inner - {unit_of(file), "__init__"})
    lines = ["```mermaid", "flowchart TD"]
    for floor in FLOORS[package]:
        for unit in floor:
            if unit != "__init__":
                shape = f'["{unit}"]' if unit.endswith("/") else f'("{unit}.py")'
                lines.append(f"    {_node(unit)}{shape}")
    for unit in [unit for floor in FLOORS[package] for unit in floor]:
        direct = edges.get(unit, set())
        implied = {further for target in direct for further in _below(target, edges)}
        lines += [f"    {_node(unit)} --> {_node(target)}" for target in sorted(direct - implied)]
    return "\n".join([*lines, "```"])


def _node(unit: str) -> str:
    """A name that mermaid takes: `end` and the like are words of its own."""
    return f"unit_{unit.rstrip('/')}"


def _below(unit: str, edges: Mapping[str, set[str]]) -> set[str]:
    """All units that a unit imports, directly or through others."""
    found: set[str] = set()
    for target in edges.get(unit, ()):
        found |= {target} | _below(target, edges)
    return found


def written(page: str, root: Path = ROOT) -> str:
    """The page with the generated part made anew. Raises ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the marks {BEGIN} and {END}")
    return before + section(root) + after


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
