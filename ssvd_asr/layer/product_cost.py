"""Cost of a matrix product on a device: the longer of its operations and its memory traffic, plus a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class DeviceSpeed:
    """Speed of matrix products on a device. Only the ratios affect a choice."""

    operations_per_s: float
    bytes_per_s: float
    call_s: float  # fixed cost of a product: a few Python calls and their kernels


class Sized(Protocol):
    """Work that states the bytes of a number."""

    @property
    def itemsize(self) -> int: ...


@dataclass(frozen=True)
class Cost:
    """Cost summed over the products of a form."""

    operations: float = 0.0
    bytes: float = 0.0
    calls: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.operations + other.operations,
            self.bytes + other.bytes,
            self.calls + other.calls,
            self.seconds + other.seconds,
        )

    def __mul__(self, share: float) -> Cost:
        return Cost(self.operations * share, self.bytes * share, self.calls, self.seconds * share)


def device_speed(device_type: str, itemsize: int, threads: int = 1) -> DeviceSpeed:
    """Return the speed of CPU cores with wide vectors, or of a large GPU of 2023. Only errors over 2x matter.

    The CPU's call_s is measured: with 4e-6, a decoder's step of 28 domains in 64 rows ran in blocks by domain
    at 0.53 of the base's speed. With 40e-6 it runs row by row at 0.65. The GPU's is not measured.
    """
    if device_type == "cpu":
        return DeviceSpeed(operations_per_s=60e9 * threads, bytes_per_s=12e9 * threads**0.5, call_s=40e-6)
    peak = 5e14 if itemsize == 2 else 4e13  # tensor cores in half precision; float32 without TF32
    return DeviceSpeed(operations_per_s=peak, bytes_per_s=2.5e12, call_s=20e-6)


def product(work: Sized, speed: DeviceSpeed, rows: int, inner: int, out: int, *, batch: int = 1) -> Cost:
    """Return the cost of (rows, inner) times (inner, out), `batch` times, in one call."""
    operations = 2.0 * batch * rows * inner * out
    size = float(batch * (rows * inner + inner * out + rows * out) * work.itemsize)
    slower = max(operations / speed.operations_per_s, size / speed.bytes_per_s)
    return Cost(operations, size, 1, slower + speed.call_s)


def moved(speed: DeviceSpeed, size: int) -> Cost:
    """Return the cost of reading or writing `size` bytes outside a product."""
    return Cost(0.0, float(size), 0, size / speed.bytes_per_s)
