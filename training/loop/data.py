"""Data of a run: training and validation sets, a check of the test set, and the report on all three."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ssvd_asr.console import json_line
from ssvd_asr.errors import DataError
from ssvd_asr.manifests.read import read_entries
from ssvd_asr.manifests.utterances import Utterance
from training.corpus.dataset import Dataset, Rules, load_dataset
from training.corpus.report import DataReport, TooFewUsableError
from training.corpus.shared import shared_between, shared_lines
from training.evaluate import check_scored
from training.run_settings import RunSettings


def load_data(
    settings: RunSettings, rules: Rules, report_file: Path | None, say: Callable[[str], None]
) -> tuple[Dataset, Dataset]:
    """Return the training and validation data, and write the report, even if too little is usable.

    Test data that are scored at the end of the run are checked too: else they would fail after hours.

    Args:
        report_file: where the report goes; None writes none.
        say: takes lines to print.

    Raises:
        DataError: a source is no manifest, or too few of its utterances are usable.
    """
    reports = _Reports(report_file, say)
    free = settings.cache_bytes
    loaded: dict[str, Dataset] = {}
    for role, source in (("train", settings.data), ("valid", settings.valid)):
        with reports.failure(role, source):
            data = load_dataset(
                source,
                rules,
                min_usable=settings.min_usable,
                cache_bytes=free,
                progress=settings.progress,
            )
        free -= sum(stored.nbytes for stored in data.cached.values())
        reports.add(role, data.report)
        loaded[role] = data
    sets = {role: data.utterances for role, data in loaded.items()}
    if settings.test is not None:
        if settings.scored:
            with reports.failure("test", settings.test):
                found = check_scored(
                    settings.test,
                    rules.window_s,
                    min_usable=settings.min_usable,
                    progress=settings.progress,
                )
            reports.add("test", found)
        sets["test"] = [each for each in read_entries(settings.test) if isinstance(each, Utterance)]
    shared = shared_between(sets)
    for line in shared_lines(shared):
        say(line)
    reports.write({"shared": shared})
    return loaded["train"], loaded["valid"]


class _Reports:
    """Reports by role, and the file that they go to."""

    def __init__(self, path: Path | None, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._found: dict[str, object] = {}

    def add(self, role: str, report: DataReport) -> None:
        self._found[role] = report.as_json()
        self._say(report.summary())

    @contextmanager
    def failure(self, role: str, source: Path) -> Iterator[None]:
        """Write the reports so far and that on a source which stops the run, and raise its error again."""
        try:
            yield
        except DataError as error:
            known = error.report.as_json() if isinstance(error, TooFewUsableError) else {}
            self.write({role: {"source": str(source), **known, "error": str(error)}})
            raise

    def write(self, last: Mapping[str, object]) -> None:
        if self._path is None:
            return
        from ssvd_asr.basis.cache import write_atomically

        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self._found, **last}, indent=1, ensure_ascii=False)
        write_atomically(self._path, f"{json_line(text)}\n".encode())
