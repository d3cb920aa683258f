"""Command-line options that `ssvd serve` and `ssvd transcribe` share. Settings supply the defaults."""

from __future__ import annotations

import argparse

from adapters_store.places import place_of


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --base, --device, --dtype and --store. An option not given is None."""
    parser.add_argument("--base", help="owsm-nano, a hub tag as openai/whisper-base, or a folder")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:<index>")
    parser.add_argument("--dtype", help="auto, float32 or bfloat16")
    parser.add_argument("--store", type=place_of, help="published adapters: a folder, s3://... or hf://...")
