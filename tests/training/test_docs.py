"""docs/training.md states every field of the recipe with its defaults, and every option of the commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from training import evaluate_command, train_command
from training.recipe import NANO, OWSM, WITHOUT_CTC, Recipe

DOCS = Path(__file__).parents[2] / "docs" / "training.md"


def rows() -> list[str]:
    """The recipe's table, as the page must hold it."""

    def shown(value: object) -> str:
        return f"{value:g}" if isinstance(value, float) else str(value).lower()

    return [
        " | ".join(
            [
                f"| `--{name.replace('_', '-')}`",
                *(shown(getattr(recipe, name)) for recipe in (OWSM, NANO, WITHOUT_CTC)),
                f"{field.description} |",
            ]
        )
        for name, field in Recipe.model_fields.items()
    ]


def test_the_recipe_table_is_that_of_the_code() -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    assert [row for row in rows() if row not in lines] == []


@pytest.mark.parametrize("command", [train_command, evaluate_command])
def test_every_option_is_documented(command: object) -> None:
    text = DOCS.read_text(encoding="utf-8")
    options = {
        option
        for action in command._parser()._actions  # type: ignore[attr-defined]
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert sorted(option for option in options if not re.search(rf"{option}(?![\w-])", text)) == []
