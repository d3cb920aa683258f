"""Menus of the page, filled from what a server lists, and the line under the menu of domains."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui import render
from ui.auto import AUTO
from ui.client import Catalogue

FIND_OUT = "Find out"  # label of AUTO, of domains and of languages


def domain_menu(catalogue: Catalogue) -> list[tuple[str, str]]:
    """Return the domains as (label, value) pairs, after the choice by the server where it offers that."""
    names = [(each.name, each.name) for each in catalogue.domains]
    return [(FIND_OUT, AUTO), *names] if catalogue.auto and names else names


def language_menu(catalogue: Catalogue, chosen: str | None) -> Any:
    """Return the update of the menu of languages: it is there where the base has several.

    What is chosen is kept where it is in the menu. Otherwise the server's own language is chosen.
    """
    menu = [(name.replace("_", " ").capitalize(), code) for name, code in catalogue.languages]
    if len(menu) < 2:
        return gr.update(choices=[], value=None, visible=False)
    if catalogue.identifies_language:
        menu.insert(0, (FIND_OUT, AUTO))
    known = chosen if chosen in dict(menu).values() else catalogue.language
    return gr.update(choices=menu, value=known, visible=True)


def about(catalogue: Catalogue, domain: str | None) -> str:
    """Return the line under the menu of domains."""
    if not catalogue.domains:
        return render.hint("This server has no domains for its base model yet.")
    if domain == AUTO and catalogue.auto:
        return render.about_finding_out()
    return render.about_domain(next((each for each in catalogue.domains if each.name == domain), None))
