"""Reader of lhotse cut sets. It needs lhotse, which the extra `train` brings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.corpus.sources import Entry, parse_json, text_lines
from training.corpus.utterances import Problem, Utterance


def read_cuts(path: Path) -> Iterator[Entry]:
    """Yield one entry for each supervision of each cut.

    Relative paths are tried from the current directory, as lhotse does, then from the cut set's folder.
    """
    from lhotse.serialization import deserialize_item

    for number, line in text_lines(path):
        name = f"{path.name}:{number}"
        try:
            cut = deserialize_item(parse_json(line))
        # lhotse's dataclasses raise KeyError, TypeError, AssertionError or ValueError.
        except Exception as error:
            yield Problem(name, "", "malformed entry", f"lhotse cannot read line {number}: {error!r}")
            continue
        yield from _cut_entries(cut, name, path.parent)


def _cut_entries(cut: Any, name: str, folder: Path) -> Iterator[Entry]:
    if type(cut).__name__ not in ("MonoCut", "MultiCut") or not cut.has_recording:
        yield Problem(
            name, "", "unsupported source", f"a {type(cut).__name__} without a recording of its own"
        )
        return
    sources = cut.recording.sources
    if len(sources) != 1 or sources[0].type != "file":
        kinds = ", ".join(source.type for source in sources)
        yield Problem(cut.id, "", "unsupported source", f"needs one source of type file, found: {kinds}")
        return
    if cut.recording.transforms:
        yield Problem(
            cut.id, sources[0].source, "unsupported source", "the recording is transformed on the fly"
        )
        return
    audio = Path(sources[0].source)
    if not audio.is_absolute() and not audio.exists():
        audio = folder / audio
    if not cut.supervisions:
        yield Problem(cut.id, str(audio), "empty text", "the cut has no supervision")
    for supervision in cut.supervisions:
        # A supervision may extend past the cut's edges; only the part inside counts.
        start_s = max(0.0, supervision.start)
        end_s = min(cut.duration, supervision.end)
        identity = supervision.id if len(cut.supervisions) > 1 else cut.id
        if end_s <= start_s:
            yield Problem(identity, str(audio), "malformed entry", "the supervision lies outside its cut")
            continue
        yield Utterance(
            id=identity,
            audio=audio,
            text=supervision.text or "",
            start_s=cut.start + start_s,
            duration_s=end_s - start_s,
            speaker=supervision.speaker,
        )
