"""Adapter files that the store takes and the server has to refuse, and files that change on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.ssvd_asr.adapter_files import put_together, taken_apart

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def edited(file: bytes, change: Change) -> bytes:
    """The same file after `change` of its metadata and of the header of its tensors."""
    header, body = taken_apart(file)
    metadata = json.loads(header["__metadata__"]["ssvd"])
    change(metadata, header)
    header["__metadata__"]["ssvd"] = json.dumps(metadata)
    return put_together(header, body)


def first_layer(metadata: dict[str, Any]) -> dict[str, Any]:
    """One of the layers that the metadata describes."""
    layer: dict[str, Any] = next(iter(metadata["layers"].values()))
    return layer


def other_layers(metadata: dict[str, Any], header: dict[str, Any]) -> None:
    """Give every layer a name that the base does not have."""
    metadata["layers"] = {f"x{name}": entry for name, entry in metadata["layers"].items()}
    for name in [each for each in header if each != "__metadata__"]:
        header[f"x{name}"] = header.pop(name)


def other_basis(metadata: dict[str, Any], _: dict[str, Any]) -> None:
    """Change a fingerprint, whose length and order stay as they have to be."""
    entry = first_layer(metadata)
    entry["fingerprint"] = next(
        each["fingerprint"]
        for each in metadata["layers"].values()
        if each["fingerprint"] != entry["fingerprint"] and each["k"] == entry["k"]
    )


# Published as they are: each is a whole adapter file, for something else.
ALIEN: Mapping[str, Change] = {
    "for another base": lambda metadata, _: metadata.update(base_digest="sha256:" + "0" * 64),
    "for other layers": other_layers,
    "for another basis": other_basis,
    "for a layer of another shape": lambda metadata, _: first_layer(metadata).update(out_features=9999),
}


def replaced(content: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Damage that gives a file another content."""

    def damage(path: Path) -> None:
        data = content(path.read_bytes())
        path.unlink()
        path.write_bytes(data)

    return damage


def linked(path: Path) -> None:
    """Put a link to a file of the system in a file's place."""
    path.unlink()
    path.symlink_to("/etc/passwd")


def piped(path: Path) -> None:
    """Put a pipe in a file's place, at which a reader would wait for ever."""
    path.unlink()
    os.mkfifo(path)


def foldered(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


# Done to the file of a version after it was published.
DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "emptied": replaced(lambda _: b""),
    "cut off": replaced(lambda data: data[:-1]),
    "longer": replaced(lambda data: data + b"\0"),
    "another number": replaced(lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "a header of 2^63 bytes": replaced(lambda data: b"\xff" * 8 + data[8:]),
    "a pickle": replaced(lambda _: b"\x80\x04\x95" + bytes(200)),
    "gone": Path.unlink,
    "a link": linked,
    "a pipe": piped,
    "a folder": foldered,
}
