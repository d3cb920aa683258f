"""`ssvd factorize`: compute a base model's singular factors once, before anything waits for them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from ssvd_asr.output_paths import check_output_folder
from ssvd_asr.parser import CommandParser


def main(argv: list[str]) -> int:
    """Run the command; return 0, or 1 with the reason on standard error."""
    arguments = _parser().parse_args(argv)
    from ssvd_asr.errors import SsvdError

    try:
        report = _factorize(arguments)
    except SsvdError as error:
        print(f"ssvd factorize: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(report))
    else:
        print(_text(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="ssvd factorize", description=__doc__)
    parser.add_argument("--base", default="owsm-nano", help="owsm-nano, a hub tag, or a directory")
    parser.add_argument("--config", type=Path, help="the base's config.yaml, with --checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="the base's weights, with --config")
    parser.add_argument(
        "--cache-dir", type=Path, help="default: SSVD_CACHE_DIR, else the user's cache folder"
    )
    parser.add_argument(
        "--device", default="auto", help="where to compute: auto (a GPU where there is one), cpu, cuda"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    return parser


def _factorize(arguments: argparse.Namespace) -> dict[str, object]:
    from ssvd_asr.base.load import load_base
    from ssvd_asr.basis.cache import factor_folder, factorize
    from ssvd_asr.device import resolve_device

    device = resolve_device(arguments.device)
    if arguments.cache_dir is not None:
        check_output_folder(arguments.cache_dir, "--cache-dir")
    # float32: weights rounded for serving have another basis.
    base = load_base(
        arguments.base,
        device="cpu",
        dtype="float32",
        config=arguments.config,
        checkpoint=arguments.checkpoint,
    )
    start = time.perf_counter()
    progress = sys.stderr.isatty() or not arguments.json
    factors = factorize(base, arguments.cache_dir, progress, device=device)
    return {
        "base": base.name,
        "base_digest": base.digest,
        "folder": str(factor_folder(base.digest, arguments.cache_dir)),
        "layers": len(factors),
        "limited": {name: {"cut": f.cut, "rank": f.rank} for name, f in factors.items() if f.cut < f.rank},
        "wall_s": round(time.perf_counter() - start, 3),
    }


def _text(report: dict[str, object]) -> str:
    lines = [
        f"{report['layers']} layers of {report['base']} ({report['base_digest']}) in {report['wall_s']} s",
        f"factors in {report['folder']}",
    ]
    limited = report["limited"]
    assert isinstance(limited, dict)
    for name, spectrum in limited.items():
        lines.append(
            f"degenerate spectrum: {name} allows k <= {spectrum['cut']} of {spectrum['rank']} directions"
        )
    return "\n".join(lines)
