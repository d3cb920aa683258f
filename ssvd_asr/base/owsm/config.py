"""Reader of an ESPnet S2T config.yaml, as far as the model needs it. Imports neither torch nor ESPnet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.base.window import Window
from ssvd_asr.errors import BaseModelError

CTC_ONLY = "espnet_ctc"  # the config's `model` of an OWSM-CTC, as ESPnet's task s2t_ctc writes it
# Defaults of ESPnet's S2TPreprocessor for keys that preprocessor_conf leaves out.
_PREPROCESSOR_DEFAULTS: dict[str, Any] = {
    "fs": SAMPLE_RATE,
    "speech_length": 30.0,  # s
    "speech_resolution": 0.02,  # s
    "na_symbol": "<na>",
    "notime_symbol": "<notimestamps>",
    "first_time_symbol": "<0.00>",
    "last_time_symbol": "<30.00>",
    "text_prev_apply_prob": 0.5,
}


@dataclass(frozen=True)
class ModelConfig:
    """Config of one S2T model, with the paths of the files that it names.

    raw is the mapping as ESPnet wrote it; paths in it may be relative to another folder.
    """

    raw: Mapping[str, Any]
    token_list: tuple[str, ...]
    bpe_model: Path | None
    stats_file: Path | None  # of global_mvn
    window_s: float  # speech is always padded to this length
    time_step_s: float  # between two neighbouring time symbols
    na_symbol: str
    notime_symbol: str
    first_time_symbol: str
    last_time_symbol: str
    knows_previous_text: bool  # whether it was trained with previous text
    word_start_shift_s: float = 0.0  # of decoding/align.py; `alignment_conf`, which ESPnet does not read
    word_end_shift_s: float = 0.0
    joined_speech_s: float | None = None  # of `pieces_conf`, which ESPnet does not read; None: the window
    piece_context_s: float = 0.0
    sample_rate_hz: int = SAMPLE_RATE
    ctc_only: bool = False  # OWSM-CTC: an encoder that reads the prompt, and no decoder
    nolang_symbol: str | None = None  # where OWSM-CTC is to work the language out; None: not named

    @property
    def window_samples(self) -> int:
        """Window length in samples, rounded as in Speech2Text."""
        return int(self.sample_rate_hz * self.window_s)

    @property
    def window(self) -> Window:
        """The window, and how speech is cut for it."""
        return Window(
            self.window_s,
            self.sample_rate_hz,
            self.joined_speech_s,
            self.piece_context_s,
            setting="preprocessor_conf.speech_length in its config",
        )

    def section(self, name: str) -> dict[str, Any]:
        """Return a copy of `<name>_conf`, empty if the config has none."""
        return dict(self.raw.get(name) or {})


def read_config(path: Path, *, root: Path | None = None) -> ModelConfig:
    """Read a config.yaml whose file names are relative to `root`.

    Without a root they are looked for in the config's own folder, then in the three above it (a hub
    repository keeps its config in exp/<run>/), then in the current directory, as ESPnet does.

    Raises:
        BaseModelError: the config or a file that it names is missing, or it describes no S2T model.
    """
    if not path.is_file():
        raise BaseModelError(f"base config {path} does not exist")
    try:
        with path.open(encoding="utf-8") as stream:
            raw = yaml.load(stream, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BaseModelError(f"base config {path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise BaseModelError(f"base config {path} holds {type(raw).__name__}, not a mapping")
    folder = path.absolute().parent
    roots = [root] if root is not None else [folder, *list(folder.parents)[:3], Path.cwd()]
    return parse_config(raw, roots=roots)


def parse_config(raw: Mapping[str, Any], *, roots: Sequence[Path] = ()) -> ModelConfig:
    """Check an ESPnet config mapping and find its files under the first of `roots` that has them.

    Raises:
        BaseModelError: the config has no usable token list, names a missing file, has a sample rate other
            than 16 kHz, or is of a kind that is not supported (other models, adapter checkpoints).
    """
    if raw.get("model", "espnet") not in (None, "espnet", CTC_ONLY):
        raise BaseModelError(
            f"base config has model: {raw['model']!r}; supported: espnet (encoder and decoder), {CTC_ONLY}"
        )
    if raw.get("use_adapter"):
        raise BaseModelError(
            "base config has use_adapter: true; merge ESPnet's adapter into the weights first"
        )
    front = {**_PREPROCESSOR_DEFAULTS, **(raw.get("preprocessor_conf") or {})}
    if int(front["fs"]) != SAMPLE_RATE:
        raise BaseModelError(f"preprocessor_conf.fs is {front['fs']} Hz; only {SAMPLE_RATE} Hz is supported")
    if raw.get("model") == CTC_ONLY:  # its preprocessor has no times, but its vocabulary is OWSM's
        front = {
            "last_time_symbol": f"<{float(front['speech_length']):.2f}>",
            **(raw.get("preprocessor_conf") or {}),
        }
        front = {**_PREPROCESSOR_DEFAULTS, **front}
    tokens = _token_list(raw.get("token_list"), roots)
    symbols = {key: str(front[key]) for key in _PREPROCESSOR_DEFAULTS if key.endswith("_symbol")}
    absent = [f"{key}: {symbol}" for key, symbol in symbols.items() if symbol not in tokens]
    if absent:
        raise BaseModelError(
            f"preprocessor_conf names symbols that the token list has not: {', '.join(absent)}"
        )
    stats = (
        (raw.get("normalize_conf") or {}).get("stats_file") if raw.get("normalize") == "global_mvn" else None
    )
    alignment = raw.get("alignment_conf") or {}
    pieces = raw.get("pieces_conf") or {}
    return ModelConfig(
        raw=raw,
        token_list=tokens,
        bpe_model=_find(raw.get("bpemodel"), roots, "bpemodel"),
        stats_file=_find(stats, roots, "normalize_conf.stats_file"),
        window_s=float(front["speech_length"]),
        time_step_s=float(front["speech_resolution"]),
        na_symbol=symbols["na_symbol"],
        notime_symbol=symbols["notime_symbol"],
        first_time_symbol=symbols["first_time_symbol"],
        last_time_symbol=symbols["last_time_symbol"],
        knows_previous_text=float(front["text_prev_apply_prob"]) > 0,
        word_start_shift_s=float(alignment.get("start_shift_s", 0.0)),
        word_end_shift_s=float(alignment.get("end_shift_s", 0.0)),
        joined_speech_s=float(pieces["joined_speech_s"]) if "joined_speech_s" in pieces else None,
        piece_context_s=float(pieces.get("context_s", 0.0)),
        ctc_only=raw.get("model") == CTC_ONLY,
        nolang_symbol=front.get("nolang_symbol"),
    )


def _token_list(value: object, roots: Sequence[Path]) -> tuple[str, ...]:
    """Return the tokens of a list, as in a trained config, or of a file, as in a hand-written one."""
    if isinstance(value, str):
        path = _find(value, roots, "token_list")
        assert path is not None
        # As in ESPnet, the first character stays even if it is white space.
        lines = path.read_text(encoding="utf-8").split("\n")
        tokens = tuple(line[0] + line[1:].rstrip() for line in lines if line)
    elif isinstance(value, (list, tuple)) and value:
        tokens = tuple(str(token) for token in value)
    else:
        raise BaseModelError("base config has no token_list")
    if len(set(tokens)) != len(tokens):
        raise BaseModelError("token_list names a token twice")
    return tokens


def _find(value: object, roots: Sequence[Path], setting: str) -> Path | None:
    """Return the file that a path in the config names, or None if the config names none.

    An absolute path may be gone, because the folder was moved or espnet_model_zoo wrote its cache's path into
    the config. Its longest tail that exists under a root is then taken, as in espnet_model_zoo.
    """
    if value is None:
        return None
    named = Path(str(value))
    if named.is_absolute():
        tails = [Path(*named.parts[cut:]) for cut in range(1, len(named.parts))]
        tried = [named, *(root / tail for root in roots for tail in tails)]
    else:
        tried = [root / named for root in roots]
    for path in tried:
        if path.is_file():
            return path
    places = ", ".join(str(root) for root in roots) or "no folder"
    raise BaseModelError(f"base config's {setting} {str(value)!r} is missing (looked for it under {places})")
