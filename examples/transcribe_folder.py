"""Transcribe the clips of a folder, one .txt beside each.

    python examples/transcribe_folder.py FOLDER --domain child

It runs the server's engine, so recordings of any length are cut at silences.
"""

import argparse
from pathlib import Path

from server.engine.messages import Request
from server.engine.start import start_engine
from server.settings import load_settings
from ssvd_asr import read_audio

SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--domain", help="child, child@1 or child@sha256:...; left out: the base")
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f"{args.folder} is not a folder")
    settings = load_settings()  # base, device and store from SSVD_BASE, SSVD_DEVICE and SSVD_STORE
    engine = start_engine(settings)
    try:
        for path in sorted(each for each in args.folder.iterdir() if each.suffix.lower() in SUFFIXES):
            wave = read_audio(path, settings.audio_limits)
            text = engine.submit(Request(wave, domain=args.domain)).result().text
            path.with_suffix(".txt").write_text(text + "\n", encoding="utf-8")
            print(f"{path.name}: {text}")
    finally:
        engine.close(timeout_s=30)


if __name__ == "__main__":
    main()
