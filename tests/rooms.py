"""The rooms of the five packages in their order, and the imports between their files, read from the source.

A unit is a room (a folder, written "adapter/") or a file that stands beside the rooms. Each line of FLOORS is
one floor; the highest comes first. A file may import from its own unit and from lower floors.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

FLOORS: dict[str, list[tuple[str, ...]]] = {
    "ssvd_asr": [
        ("__init__", "cli", "base_command"),
        ("adapter/", "transcription"),
        ("adapted_model", "decoding/"),
        ("base/",),
        ("mixing/",),
        ("layer/",),
        ("basis/",),
        ("manifests/",),
        ("audio/", "scoring", "device", "languages", "output_paths", "writing"),
        (
            "cache_root",
            "console",
            "errors",
            "extras",
            "iso_639",
            "parser",
            "progress",
            "tensor_files",
            "version",
        ),
    ],
    "adapters_store": [
        ("__init__", "commands"),
        ("parcels", "server_actions"),
        ("actions", "tables"),
        ("intent", "publish_check", "reports"),
        ("blends", "store"),
        ("catalogue",),
        ("packaged", "places"),
        ("hub_files", "s3"),
        ("remote_storage",),
        ("file_cache", "removal", "storage", "voices"),
        ("aliases", "versions"),
        ("audit", "disk", "index", "names"),
    ],
    "training": [
        (
            "__init__",
            "train_command",
            "evaluate_command",
            "blend_command",
            "compare_command",
            "describe_command",
            "bench/",
        ),
        ("loop/",),
        ("methods/",),
        ("evaluate", "run_settings", "voices"),
        ("corpus/",),
        ("recipe", "arguments", "blend_fit", "blend_parts", "compare_plot"),
    ],
    "server": [
        ("__init__", "keys_command", "serve_command", "transcribe_command"),
        ("app", "draining", "transcribing"),
        ("transcript_files", "transcript_record"),
        ("api/",),
        ("reply_fields", "state", "subtitles", "watched_folder"),
        ("publishing",),
        ("realtime/",),
        ("engine/",),
        ("auto/",),
        ("domains",),
        ("bank/",),
        ("keys/",),
        ("intake", "logs", "options", "progress", "samples", "recordings"),
        ("settings",),
        ("configuration/",),
        (
            "aliases",
            "auto_options",
            "errors",
            "languages",
            "live_sessions",
            "repeated_keys",
            "tally",
            "traces",
            "unanswered",
        ),
    ],
    "ui": [
        ("__init__", "ui_command"),
        ("app",),
        ("page",),
        ("menus",),
        ("render", "clips"),
        ("bars", "marks"),
        ("files", "lanes"),
        ("heartbeat",),
        ("client", "words", "style", "player", "visits"),
        ("auto", "heard", "refusals"),
    ],
}
# Which packages, or modules, each package may import.
PACKAGES: dict[str, set[str]] = {
    "ssvd_asr": {"ssvd_asr"},
    "adapters_store": {"adapters_store", "ssvd_asr"},
    "training": {"training", "adapters_store", "ssvd_asr"},
    "server": {"server", "adapters_store", "ssvd_asr"},
    "ui": {"ui", "ssvd_asr.errors", "ssvd_asr.version"},
}


class Import(NamedTuple):
    """One imported module, where it is imported, and whether inside a function."""

    file: str
    line: int
    module: str
    lazy: bool


def sources(root: Path = ROOT) -> list[Path]:
    """Every source file of the five packages."""
    return sorted(path for package in FLOORS for path in (root / package).rglob("*.py"))


def imports_of(path: Path, root: Path = ROOT) -> Iterator[Import]:
    """Every import statement of a file, those inside functions and under TYPE_CHECKING too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(inner) for function in functions for inner in ast.walk(function)}
    file = path.relative_to(root).as_posix()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import; the law reads absolute ones"
            # "from ssvd_asr import errors" names a module, "from ssvd_asr.errors import X" does not.
            longer = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if file_of(name, root) else node.module or "" for name in longer]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, name, id(node) in inside)


def file_of(module: str, root: Path = ROOT) -> str | None:
    """The source file of a module of ours, as a path from the root; None for any other."""
    if module.partition(".")[0] not in FLOORS:
        return None
    folder = root / module.replace(".", "/")
    for path in (folder.with_suffix(".py"), folder / "__init__.py"):
        if path.is_file():
            return path.relative_to(root).as_posix()
    return None


def unit_of(file: str) -> str:
    """The unit of a file within its package: "ssvd_asr/adapter/merge.py" -> "adapter/"."""
    rest = file.split("/")[1:]
    return rest[0].removesuffix(".py") if len(rest) == 1 else f"{rest[0]}/"


def floor_of(file: str) -> int | None:
    """The floor of a file in its package, 0 the highest; None where the table has no unit for it."""
    unit = unit_of(file)
    for number, units in enumerate(FLOORS[file.split("/")[0]]):
        if unit in units:
            return number
    return None


def homeless(files: Iterable[str]) -> list[str]:
    """The files that stand in no unit of the table."""
    return [file for file in files if floor_of(file) is None]


def goes_down(imported: Import, root: Path = ROOT) -> bool:
    """Whether the import stays in its unit, goes to a lower floor, or leaves the package."""
    target = file_of(imported.module, root)
    if target is None or target.split("/")[0] != imported.file.split("/")[0]:
        return True
    if unit_of(target) == unit_of(imported.file):
        return True
    here, there = floor_of(imported.file), floor_of(target)
    return here is not None and there is not None and there > here


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Each source file of ours, and the files of ours that it imports."""
    made: dict[str, set[str]] = {}
    for path in sources(root):
        targets = {file_of(each.module, root) for each in imports_of(path, root)}
        made[path.relative_to(root).as_posix()] = {target for target in targets if target is not None}
    return made


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of files that import each other, directly or through others."""
    reached = {file: _reached(file, imports) for file in imports}
    groups = {
        tuple(sorted(other for other in reached[file] if file in reached[other]))
        for file in imports
        if file in reached[file]
    }
    return [list(group) for group in sorted(groups)]


def _reached(file: str, imports: Mapping[str, set[str]]) -> set[str]:
    """All files that a file imports, directly or through others."""
    found: set[str] = set()
    waiting = [file]
    while waiting:
        for target in imports.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found
