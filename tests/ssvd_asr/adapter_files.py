"""Adapter files of the toy network, and how to take one apart and put it together wrongly."""

from __future__ import annotations

import json
from typing import Any

from ssvd_asr.adapter.adapter import Adapter
from ssvd_asr.adapter.forms import RotationMap
from ssvd_asr.adapter.write import adapter_bytes, describe_adapter
from tests.ssvd_asr.toy import Toy, ToyBase, toy_factors, train_at_random

FACTORS = toy_factors(Toy())
BASE = ToyBase(Toy())
TRAINING = {"data": {"utterances": 100, "hours": 0.2}, "steps": 40, "wer_before": 0.5, "wer_after": 0.1}


def trained(kind: RotationMap = "first-order", seed: int = 0) -> Adapter:
    return train_at_random(Adapter.new(FACTORS, p=0.5, rotation_map=kind), seed=seed)


def file_bytes(kind: RotationMap = "first-order", dtype: str = "float16") -> bytes:
    adapter = trained(kind)
    metadata = describe_adapter(adapter, BASE, FACTORS, training=TRAINING)
    return adapter_bytes(adapter, metadata=metadata, dtype=dtype)


FILE = file_bytes()


def taken_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put_together(header: dict[str, Any] | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body
