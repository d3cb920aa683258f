"""Sizes of slots: the memory they take, and which versions fit in them side by side.

Every slot has room for the largest core that any version in a slot has, layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ssvd_asr.errors import AdapterError
from ssvd_asr.mixing.compression import Compression, core_numbers
from ssvd_asr.mixing.core_stack import CoreStack

FIRST_DOMAINS = 8  # domains with room at the start; doubled whenever all slots are taken
WORTH_SHRINKING = 1.125  # gain in domains that justifies copying all slots

Sizes = Mapping[str, int]  # k of a domain's cores, by layer name


@dataclass(frozen=True)
class Plan:
    """Steps by which a domain gets a slot beside others."""

    leaving: Sequence[str]  # digests of the others to evict
    resize: tuple[int, Sizes] | None = None  # slots and their sizes; None: keep the stack


@dataclass(frozen=True)
class Room:
    """Memory of the device that slots may take."""

    max_bytes: int
    itemsize: int  # of the cores
    compression: Compression | None

    def slot_bytes(self, sizes: Sizes) -> int:
        """Return the bytes of a slot for cores of up to these sizes."""
        return sum(core_numbers(k, self.compression) for k in sizes.values()) * self.itemsize

    def domains(self, sizes: Sizes) -> int:
        """Return how many domains of up to these sizes fit beside the base's slot."""
        slot_bytes = self.slot_bytes(sizes)
        return max(0, self.max_bytes // slot_bytes - 1) if slot_bytes else FIRST_DOMAINS

    def check(self, sizes: Sizes) -> None:
        """Raise AdapterError for a domain that does not fit even alone."""
        if not self.domains(sizes):
            raise AdapterError(
                f"its cores take {self.slot_bytes(sizes)} bytes on the device, twice that with the base's "
                f"slot; the limit is {self.max_bytes} (SSVD_BANK_MAX_BYTES)"
            )

    def plan(self, wanted: Sizes, others: Mapping[str, Sizes], stack: CoreStack | None) -> Plan:
        """Plan a slot for a domain that fits alone. The last of `others`, those in the stack, leave first."""
        domains, held = (0, {}) if stack is None else (stack.slots - 1, stack.k)
        fits = all(k <= held.get(name, 0) for name, k in wanted.items())
        if fits and len(others) < domains:
            return Plan(())
        sizes = list(others.values())
        stay, joint = self._together(joined([wanted, held]), sizes)
        smaller = self._together(wanted, sizes)
        if self.domains(smaller[1]) > WORTH_SHRINKING * self.domains(joint):
            stay, joint = smaller
        leaving = list(others)[stay:]
        if fits and leaving:
            return Plan(leaving)
        if stay >= domains:
            domains = max(2 * domains, FIRST_DOMAINS)
        return Plan(leaving, (min(domains, self.domains(joint)) + 1, joint))

    def _together(self, wanted: Sizes, others: Sequence[Sizes]) -> tuple[int, Sizes]:
        """Return how many of the first others fit beside `wanted`, and the sizes of slots for them all."""
        joint, domains, seen = wanted, self.domains(wanted), {id(wanted)}
        for count, sizes in enumerate(others):
            wider = joint
            if id(sizes) not in seen:  # most domains have the same sizes and share one object
                seen.add(id(sizes))
                wider = joined([joint, sizes])
                domains = self.domains(wider)
            if count + 2 > domains:
                return count, joint
            joint = wider
        return len(others), joint


def joined(each: Iterable[Sizes]) -> dict[str, int]:
    """Return the largest k of each layer."""
    joint: dict[str, int] = {}
    for sizes in {id(sizes): sizes for sizes in each}.values():
        for name, k in sizes.items():
            joint[name] = max(k, joint.get(name, 0))
    return joint
