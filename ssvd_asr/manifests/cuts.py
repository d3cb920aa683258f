"""Reader of lhotse cut sets. It needs lhotse, which the extra `train` brings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssvd_asr.audio.read import END_TOLERANCE_S, OneWave
from ssvd_asr.manifests.fields import MalformedError
from ssvd_asr.manifests.jsonl import json_values
from ssvd_asr.manifests.sources import Entry, resolved, shown, unsupported, without_repeats
from ssvd_asr.manifests.utterances import Problem, Utterance


def read_cuts(path: Path, *, needs_text: bool = True) -> Iterator[Entry]:
    """Yield one entry for each supervision of each cut.

    Relative paths are tried from the current directory, as lhotse does, then from the cut set's folder.

    Raises:
        DataError: the file is not UTF-8 text.
    """
    yield from without_repeats(_named_entries(path, needs_text))


def _named_entries(path: Path, needs_text: bool) -> Iterator[tuple[str, Entry]]:
    from lhotse.serialization import deserialize_item

    for value in json_values(path):
        name = f"{path.name}:{value.number}"
        try:
            cut = deserialize_item(value.parse())
            _check_values(cut)
        except MalformedError as error:
            yield name, Problem(name, "", "malformed entry", f"{value.place}: {error}")
            continue
        # lhotse's dataclasses raise KeyError, TypeError, AssertionError, AttributeError or ValueError.
        except Exception as error:
            detail = f"lhotse cannot read {value.place}: {error!r}"
            yield name, Problem(name, "", "malformed entry", detail)
            continue
        for entry in _cut_entries(cut, name, path.parent, needs_text):
            yield name, entry


def _cut_entries(cut: Any, name: str, folder: Path, needs_text: bool) -> Iterator[Entry]:
    if type(cut).__name__ not in ("MonoCut", "MultiCut") or not cut.has_recording:
        detail = f"a {type(cut).__name__} without a recording of its own"
        yield Problem(name, "", "unsupported source", detail)
        return
    if reason := _no_file(cut):
        yield Problem(cut.id, "", "unsupported source", reason)
        return
    audio = resolved(cut.recording.sources[0].source, folder)
    if not cut.supervisions and not needs_text:
        try:
            yield Utterance(cut.id, audio, "", cut.start, cut.duration, channel=_channel(cut, cut))
        except ValueError as error:
            yield Problem(cut.id, str(audio), "unsupported source", str(error))
    elif not cut.supervisions:
        yield Problem(cut.id, str(audio), "empty text", "the cut has no supervision")
    for supervision in cut.supervisions:
        # A cut may be shorter than its supervision, whose text then has words that the cut has not.
        start_s = max(0.0, supervision.start)
        end_s = min(cut.duration, supervision.end)
        identity = supervision.id if len(cut.supervisions) > 1 else cut.id
        try:
            channel = _channel(cut, supervision)
        except ValueError as error:
            yield Problem(identity, str(audio), "unsupported source", str(error))
            continue
        if end_s <= start_s:
            yield Problem(identity, str(audio), "malformed entry", "the supervision lies outside its cut")
            continue
        outside_s = supervision.duration - (end_s - start_s)
        if needs_text and outside_s > END_TOLERANCE_S:
            detail = f"{outside_s:.3f} s of the supervision lie outside its cut; the text may say them"
            yield Problem(identity, str(audio), "malformed entry", detail)
            continue
        yield Utterance(
            id=identity,
            audio=audio,
            text=supervision.text or "",
            start_s=cut.start + start_s,
            duration_s=end_s - start_s,
            speaker=supervision.speaker,
            channel=channel,
        )


def _check_values(cut: Any) -> None:
    """Raise MalformedError for a time that is no number of seconds, or for words that are no text.

    lhotse takes whatever the JSON holds. A supervision may begin before its cut, a cut not before its file.
    """
    if type(cut).__name__ not in ("MonoCut", "MultiCut"):
        return
    for part in (cut, *cut.supervisions):
        for name in ("start", "duration"):
            value = getattr(part, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise MalformedError(f"the {name} of {part.id} must be seconds, found {shown(value)}")
    if cut.start < 0:
        raise MalformedError(f"the cut starts at {cut.start} s, before its recording")
    for supervision in cut.supervisions:
        if not isinstance(supervision.text, str | None):
            raise MalformedError(
                f"the text of {supervision.id} must be a string, found {shown(supervision.text)}"
            )


def _no_file(cut: Any) -> str | None:
    """Return why the cut's recording is not one plain file, or None."""
    sources = cut.recording.sources
    if len(sources) != 1 or sources[0].type != "file":
        kinds = ", ".join(source.type for source in sources)
        return f"needs one source of type file, found: {kinds}"
    if cut.recording.transforms:
        return f"the recording {sources[0].source} is transformed on the fly"
    return unsupported(sources[0].source)


def _channel(cut: Any, supervision: Any) -> OneWave:
    """Return the channel of the file that a supervision is on; all channels of it are mixed.

    Raises:
        ValueError: it is on some channels of several, or on one that its cut or the recording does not have.
    """
    file = _channels(cut.recording.sources[0].channels)
    of_cut, meant = _channels(cut.channel), _channels(supervision.channel)
    if not set(meant) <= set(of_cut) <= set(file):
        raise ValueError(
            f"the supervision is on {_named(meant)} of a cut of {_named(of_cut)} "
            f"of a recording with {_named(file)}"
        )
    if meant == file:
        return "mix"
    if len(meant) == 1:
        return file.index(meant[0])
    raise ValueError(
        f"the supervision is on {_named(meant)} of a recording with {_named(file)}; one is read, or all mixed"
    )


def _channels(channel: int | list[int]) -> list[int]:
    return [channel] if isinstance(channel, int) else sorted(set(channel))


def _named(channels: list[int]) -> str:
    return f"channel{'s' if len(channels) != 1 else ''} {', '.join(map(str, channels))}"
