"""Optional extras of the package: the modules each brings, and the line that says how to add one.

`ssvd_asr.cli` prints that line where a command lacks a module of an extra. Nothing is imported to look.
"""

from __future__ import annotations

from importlib.util import find_spec

# As pyproject.toml declares them; a test compares the two.
MODULES: dict[str, tuple[str, ...]] = {
    "serve": (
        "anyio",
        "fastapi",
        "limits",
        "prometheus_client",
        "python_multipart",
        "pythonjsonlogger",
        "sse_starlette",
        "starlette",
        "uvicorn",
        "websockets",
    ),
    "ui": ("gradio",),
    "s3": ("s3fs",),
    "whisper": ("tokenizers", "transformers"),
    "train": ("lhotse", "pyarrow", "tensorboard"),
    "processes": ("lightning_fabric",),
    "benchmark": ("locust", "matplotlib", "peft"),
    "otel": ("opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk.trace", "opentelemetry.trace"),
}


def missing(extra: str) -> list[str]:
    """The modules of an extra that are not installed."""
    return [module for module in MODULES[extra] if not _is_installed(module)]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it lies in
        return False


def require(extra: str) -> None:
    """Raise ModuleNotFoundError, as an import would, for the first module of an extra that is missing."""
    for module in missing(extra):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def extra_of(error: ModuleNotFoundError) -> str | None:
    """The extra that brings the missing module; None for a module of ours or of the base install."""
    return next((extra for extra, modules in MODULES.items() if error.name in modules), None)


def how_to_add(extra: str) -> str:
    """The command that adds an extra. The package is on no index, so it is one for the source's folder."""
    return f'the extra "{extra}": pip install -e ".[{extra}]", in the folder of the source'
