"""What a product of matrices costs on a device: the longer of its operations and its bytes, and a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class DeviceSpeed:
    """How fast products go here. Only the ratios decide."""

    operations_per_s: float
    bytes_per_s: float
    call_s: float  # what a product costs beside its work: a few calls from Python, and their kernels


class Sized(Protocol):
    """Work whose numbers have a size."""

    @property
    def itemsize(self) -> int: ...


@dataclass(frozen=True)
class Cost:
    """Sum over the products of a form."""

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
    """A CPU core with wide vectors, or a large GPU of 2023; what differs by less than 2x changes little.

    The CPU's call_s is measured: with 4e-6 a decoder's step of 28 domains in 64 rows went in blocks by domain
    at 0.53 of the base's speed, with 40e-6 it goes row by row at 0.65. The GPU's is not.
    """
    if device_type == "cpu":
        return DeviceSpeed(operations_per_s=60e9 * threads, bytes_per_s=12e9 * threads**0.5, call_s=40e-6)
    peak = 5e14 if itemsize == 2 else 4e13  # tensor cores in half precision; float32 without TF32
    return DeviceSpeed(operations_per_s=peak, bytes_per_s=2.5e12, call_s=20e-6)


def product(work: Sized, speed: DeviceSpeed, rows: int, inner: int, out: int, *, batch: int = 1) -> Cost:
    """(rows, inner) times (inner, out), `batch` times over: the longer of operations and bytes, a call."""
    operations = 2.0 * batch * rows * inner * out
    size = float(batch * (rows * inner + inner * out + rows * out) * work.itemsize)
    slower = max(operations / speed.operations_per_s, size / speed.bytes_per_s)
    return Cost(operations, size, 1, slower + speed.call_s)


def moved(speed: DeviceSpeed, size: int) -> Cost:
    """`size` bytes read or written beside a product."""
    return Cost(0.0, float(size), 0, size / speed.bytes_per_s)
