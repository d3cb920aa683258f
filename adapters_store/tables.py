"""Reports (reports.py) as text: sentences, and tables with columns in line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters_store.reports import Report

DATA = ("test", "valid")  # on which `ssvd train` scores
CELL_CHARS = 80  # of a value, such as a blend's parts; --json has it whole
WER_COLUMNS = ("WER before", "after", "measured on")


def store_table(report: Report) -> str:
    """Return a table with one line for each domain, then one line for each alias.

    The error rates before and after are of the same data. Those of two domains are of different data.
    """
    aliases = [f"{alias} stands for {meant}" for alias, meant in report["aliases"].items()]
    if not report["domains"]:
        return "\n".join([f"no domains in {report['store']}", *aliases])
    rows: list[tuple[str, ...]] = [("domain", "active", "sha256", "versions", "base", *WER_COLUMNS)]
    for domain in report["domains"]:
        rows.append(
            (
                domain["name"],
                f"{domain['active']}{' built-in' if domain['builtin'] else ''}",
                domain["sha256"][:12],
                ",".join(map(str, domain["versions"])),
                *_base_and_wer(domain),
            )
        )
    return "\n".join([_aligned(rows), *aliases])


def history_table(report: Report) -> str:
    """Return a table with one line for each version, then one line for each event of the domain."""
    rows: list[tuple[str, ...]] = [("version", "sha256", "kB", "published", "base", *WER_COLUMNS)]
    for version in report["versions"]:
        marks = ("*" if version["active"] else "") + ("!" if version["version"] in report["pinned"] else "")
        published = "built-in" if version["builtin"] else str(version["published_at"])
        size = f"{version['size_bytes'] / 1000:.0f}"
        row = (f"{version['version']}{marks}", version["sha256"][:12], size, published)
        rows.append((*row, *_base_and_wer(version)))
    events = [f"{event['at']}  {event['action']} {event['version']}" for event in report["events"]]
    key = "(* is active, ! is pinned)" if report["pinned"] else "(* is active)"
    return "\n".join([f"{report['name']} {key}", _aligned(rows), *events])


def published_text(report: Report) -> str:
    """Say what was published."""
    waits = "" if report["active"] else "; it is not active"
    return f"published {_reference(report)} sha256:{report['sha256']}{waits}"


def activated_text(report: Report) -> str:
    """Say what is active."""
    return f"{_reference(report)} is active"


def rolled_back_text(report: Report) -> str:
    """Say what is active again."""
    return f"{_reference(report)} is active again"


def removed_text(report: Report) -> str:
    """Say what was removed, and what answers."""
    name, active = report["name"], report["active"]
    answers = f"{name!r} is unknown now" if active is None else f"{name}@{active} answers"
    return f"removed {', '.join(f'{name}@{each}' for each in report['removed'])}; {answers}"


def pin_text(report: Report) -> str:
    """Say whether a version is pinned."""
    return f"{_reference(report)} is {'' if report['pinned'] else 'no longer '}pinned"


def alias_text(report: Report) -> str:
    """Say what an alias stands for."""
    meant = report["stands_for"]
    return f"alias {report['alias']} is removed" if meant is None else f"{report['alias']} stands for {meant}"


def difference_table(report: Report) -> str:
    """Return a table with one line for each field that differs."""
    if not report["changed"]:
        return f"{report['name']}@{report['from']} and @{report['to']} are the same file"
    rows = [("field", f"@{report['from']}", f"@{report['to']}")]
    rows += [(field, _cell(before), _cell(after)) for field, (before, after) in report["changed"].items()]
    return _aligned(rows)


def file_text(report: Report) -> str:
    """Say where a version's file was written."""
    return f"{report['file']}: {_reference(report)} sha256:{report['sha256']}"


def merged_text(report: Report) -> str:
    """Say what a checkpoint is made of."""
    sha256 = report["adapter_sha256"] or report["weights_sha256"]
    what = "adapter" if report["adapter_sha256"] else "weights"
    return f"{report['checkpoint']}: {report['base']} with {what} sha256:{sha256}"


def pushed_text(report: Report) -> str:
    """Say where a version was written on the hub."""
    return f"{_reference(report)} sha256:{report['sha256']} is at {report['url']}"


def _reference(report: Report) -> str:
    return f"{report['name']}@{report['version']}"


def _cell(value: object) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= CELL_CHARS else f"{text[: CELL_CHARS - 3]}..."


def _base_and_wer(summary: Report) -> tuple[str, ...]:
    if "error" in summary:
        return ("DAMAGED: " + str(summary["error"]), "", "", "")
    training = summary["training"]
    return (
        str(summary["base_name"]),
        _percent(training.get("wer_before")),
        _percent(training.get("wer_after")),
        _scored_on(training) if "wer_after" in training else "-",
    )


def _scored_on(training: dict[str, Any]) -> str:
    """Return the data of the error rates, as "600 test utterances", if the file says it."""
    what, many = training.get("evaluated_on"), training.get("evaluated_utterances")
    known = what in DATA and isinstance(many, int)
    return f"{many} {what} utterances" if known else "unnamed data"


def _percent(ratio: object) -> str:
    return f"{100 * ratio:.1f} %" if isinstance(ratio, int | float) else "-"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
