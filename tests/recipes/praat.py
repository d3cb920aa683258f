"""TextGrids as CGN has them."""

from __future__ import annotations

Labels = list[tuple[float, float, str]]  # start and end in seconds, text


def short_textgrid(tiers: dict[str, Labels], end_s: float) -> str:
    """As Praat's "Write to short text file" has it: tiers full of intervals, the empty ones too."""
    lines = [
        'File type = "ooTextFile short"',
        '"TextGrid"',
        "",
        "0.000",
        f"{end_s:.3f}",
        "<exists>",
        str(len(tiers)),
    ]
    for name, labels in tiers.items():
        filled: Labels = []
        at = 0.0
        for start, end, text in labels:
            if start > at:
                filled.append((at, start, ""))
            filled.append((start, end, text))
            at = end
        if at < end_s:
            filled.append((at, end_s, ""))
        lines += ['"IntervalTier"', f'"{name}"', "0.000", f"{end_s:.3f}", str(len(filled))]
        for start, end, text in filled:
            lines += [f"{start:.3f}", f"{end:.3f}", '"{}"'.format(text.replace('"', '""'))]
    return "\n".join(lines) + "\n"
