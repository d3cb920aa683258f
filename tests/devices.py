"""The devices that tests of what a device computes run on: all that this machine has."""

from __future__ import annotations

import torch

from ssvd_asr.device import forbid_tf32

DEVICES = ("cpu", *(("cuda",) if torch.cuda.is_available() else ()))

forbid_tf32()
