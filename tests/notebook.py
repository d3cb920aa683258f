"""Run a notebook's code cells in one namespace, without Jupyter, and keep what they print and draw.

    python -m tests.notebook [NOTEBOOK [TARGET]]

writes the notebook with its outputs to TARGET, by default to NOTEBOOK itself. The cells run in
the notebook's folder. The value of a cell's last expression is not kept: cells print.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "domain.ipynb"

Cell = dict[str, Any]  # as nbformat 4.5 has it


def read(path: Path) -> dict[str, Any]:
    """A notebook as JSON."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[Cell]:
    """The cells that run."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed(cell: Cell) -> str:
    """All that a cell wrote to standard output."""
    return "".join("".join(each["text"]) for each in cell["outputs"] if each.get("name") == "stdout")


def executed(notebook: dict[str, Any]) -> dict[str, Any]:
    """A copy with the outputs of a run. What a cell raises is raised."""
    notebook = copy.deepcopy(notebook)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for count, cell in enumerate(code_cells(notebook), 1):
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(compile("".join(cell["source"]), f"cell {cell['id']}", "exec"), namespace)
        text = [{"name": "stdout", "output_type": "stream", "text": stream.getvalue().splitlines(True)}]
        cell["execution_count"] = count
        cell["outputs"] = [*(text if stream.tell() else []), *_figures()]
    return notebook


def _figures() -> list[dict[str, Any]]:
    """The open figures as outputs; they are closed."""
    from matplotlib import pyplot

    outputs = []
    for number in pyplot.get_fignums():
        figure, drawn = pyplot.figure(number), io.BytesIO()
        figure.savefig(drawn, format="png", metadata={"Software": None})
        data = {
            "image/png": base64.b64encode(drawn.getvalue()).decode("ascii") + "\n",
            "text/plain": ["<Figure>"],
        }
        outputs.append({"data": data, "metadata": {}, "output_type": "display_data"})
        pyplot.close(figure)
    return outputs


def main(argv: list[str]) -> None:
    """Run a notebook and write it with its outputs."""
    source = Path(argv[0] if argv else NOTEBOOK).resolve()
    target = Path(argv[1]).resolve() if argv[1:] else source
    os.environ["MPLBACKEND"] = "agg"
    os.chdir(source.parent)
    notebook = executed(read(source))
    target.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
