"""Command `ssvd ui`: the demo page alone, for a server that runs elsewhere."""

from __future__ import annotations

import argparse

from ssvd_asr.errors import SsvdError

HOST = "127.0.0.1"
PORT = 7860


def main(argv: list[str]) -> int:
    """Serve the page until Ctrl+C.

    Raises:
        SsvdError: the server does not answer.
    """
    args = _parser().parse_args(argv)
    from ui.client import ServerClient
    from ui.refusals import ServerProblem

    client = ServerClient(args.server)
    try:
        catalogue = client.catalogue()
    except ServerProblem as problem:
        if not problem.wants_key:
            raise SsvdError(str(problem)) from problem
        base = "whoever has a key"  # each visitor gives a key of their own
    else:
        base = catalogue.base
    from ui.app import launch  # gradio takes 3 s to import

    print(f"page for {base} at {args.server}: http://{args.host}:{args.port}", flush=True)
    launch(client, args.host, args.port)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ssvd ui", description="Open the demo page for a running server.", allow_abbrev=False
    )
    parser.add_argument("--server", required=True, metavar="URL", help="as http://127.0.0.1:8000")
    parser.add_argument("--host", default=HOST, help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on (default %(default)s)")
    return parser
