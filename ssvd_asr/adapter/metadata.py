"""Metadata of an adapter file; docs/adapter-format.md is the reference. Imports no torch."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from ssvd_asr.adapter.forms import CoreForm, CoreMap
from ssvd_asr.adapter.header import parse_json
from ssvd_asr.adapter.voices import VoiceSummary
from ssvd_asr.errors import AdapterError
from ssvd_asr.version import __version__

FORMAT_VERSIONS = (1, 2, 3)  # 2 where 1 cannot describe the adapter, 3 with a summary of voices
METADATA_KEY = "ssvd"  # in the safetensors header's __metadata__
FINGERPRINT_ROWS = 3  # S_k, V_k^T g_0, V_k^T g_1

_SECOND = {"outer_rotation", "delta_sigma", "off_diagonals"}  # fields that version 2 added
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LayerEntry(_Strict):
    """One adapted layer: its shape, its k, and the basis fingerprint as base64 of little-endian float64."""

    k: Count
    start: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0  # the first direction that changes; version 2
    out_features: Count
    in_features: Count
    fingerprint: str

    @model_validator(mode="after")
    def _consistent(self) -> LayerEntry:
        if self.span > min(self.out_features, self.in_features):
            raise ValueError(
                f"k={self.span} is over min(out, in) of {self.out_features} x {self.in_features}"
            )
        self.fingerprint_values()
        return self

    @property
    def span(self) -> int:
        """The number of directions that the layer must hold: start + k."""
        return self.start + self.k

    def fingerprint_values(self) -> NDArray[np.float64]:
        """Return S_k, V_k^T g_0 and V_k^T g_1 as (3, k).

        Raises AdapterError for bad base64, another size, numbers that are not finite, or singular values
        that rise or are not positive.
        """
        wanted = FINGERPRINT_ROWS * self.k * 8
        try:
            data = base64.b64decode(self.fingerprint, validate=True)
        except (binascii.Error, ValueError) as error:
            raise AdapterError(f"fingerprint is not base64: {error}") from error
        if len(data) != wanted:
            raise AdapterError(f"fingerprint of {len(data)} bytes, k={self.k} needs {wanted}")
        values = np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(FINGERPRINT_ROWS, self.k)
        sigma = values[0]
        if not np.isfinite(values).all() or sigma[-1] <= 0.0 or (np.diff(sigma) > 0.0).any():
            raise AdapterError("fingerprint is not finite, or its singular values do not fall towards zero")
        return values

    @staticmethod
    def encode_fingerprint(values: NDArray[np.float64]) -> str:
        """Return (3, k) numbers in the encoding of the field `fingerprint`."""
        return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode("ascii")


class CanaryOutput(_Strict):
    """A few projections of one output on the canary input, for the base and for the adapter."""

    base: tuple[Finite, ...] = Field(min_length=1, max_length=64)
    adapter: tuple[Finite, ...] = Field(min_length=1, max_length=64)
    scale: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]  # RMS of the base's output, unit of tolerance

    @model_validator(mode="after")
    def _paired(self) -> CanaryOutput:
        if len(self.base) != len(self.adapter):
            raise ValueError(f"{len(self.base)} base numbers, {len(self.adapter)} adapter numbers")
        return self


class Canary(_Strict):
    """Outputs of a fixed input, to check that an adapter works here as it did where it was made."""

    probe: str = Field(min_length=1, max_length=100)  # names the input and how outputs are projected
    outputs: dict[str, CanaryOutput] = Field(min_length=1, max_length=16)
    tolerance: dict[str, Annotated[float, Field(gt=0.0, le=1.0)]]  # by dtype, in units of scale


class AdapterMetadata(_Strict):
    """Everything in an adapter file except its tensors."""

    format_version: Literal[1, 2, 3] = 1
    method: Literal["ssvd", "lora-xs", "svft"] = "ssvd"
    rotation_map: CoreMap
    outer_rotation: bool = False  # this and the next two: version 2
    delta_sigma: bool = True
    off_diagonals: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    p: Annotated[float, Field(gt=0.0, le=1.0)] | None  # None where k was given
    base_name: str = Field(max_length=500)
    base_digest: str = Field(min_length=1, max_length=200)
    layers: dict[Annotated[str, Field(min_length=1, max_length=500)], LayerEntry] = Field(min_length=1)
    canary: Canary | None = None
    voices: VoiceSummary | None = None  # of the training data; version 3
    training: dict[str, JsonValue] = Field(default_factory=dict)  # data, steps, wer_before, wer_after, ...
    created_with: str = Field(default=f"ssvd-asr {__version__}", max_length=100)

    @model_validator(mode="after")
    def _of_its_version(self) -> AdapterMetadata:
        form = self.form  # raises where the choices do not go together
        if self.method != form.method:
            raise ValueError(f"method {self.method!r} has no map {self.rotation_map!r}")
        given = self.model_fields_set & _SECOND
        if self.format_version == 1:
            if (
                given
                or not form.plain
                or any("start" in each.model_fields_set for each in self.layers.values())
            ):
                raise ValueError(
                    "format version 1 has SSVD's three maps alone, and none of version 2's fields"
                )
        elif given != _SECOND:
            missing = ", ".join(sorted(_SECOND - given))
            raise ValueError(f"format version {self.format_version} needs {missing}")
        if (self.voices is None) == (self.format_version == 3):
            raise ValueError("format version 3, and no other, has a summary of voices")
        return self

    @property
    def form(self) -> CoreForm:
        """The form that the layers train. Raises AdapterError for choices that do not go together."""
        return CoreForm(self.rotation_map, self.outer_rotation, self.delta_sigma, self.off_diagonals)

    @property
    def ks(self) -> dict[str, int]:
        """k by layer name."""
        return {name: entry.k for name, entry in self.layers.items()}

    @property
    def starts(self) -> dict[str, int]:
        """The first direction that changes, by layer name."""
        return {name: entry.start for name, entry in self.layers.items()}

    def to_header(self) -> dict[str, str]:
        """Return this metadata as the __metadata__ of a safetensors header."""
        left_out: dict[str, Any] = {} if self.format_version == 3 else {"voices": True}
        if self.format_version == 1:
            left_out |= {**dict.fromkeys(_SECOND, True), "layers": {"__all__": {"start": True}}}
        return {METADATA_KEY: self.model_dump_json(exclude=left_out)}

    @classmethod
    def from_header(cls, metadata: dict[str, str]) -> AdapterMetadata:
        """Read and check a header's __metadata__.

        Raises AdapterError for another kind of file, an unknown format version or method, or a bad field.
        """
        if metadata.keys() != {METADATA_KEY}:
            raise AdapterError(
                f"not an SSVD adapter: __metadata__ must hold {METADATA_KEY!r} and nothing else"
            )
        table = parse_json(metadata[METADATA_KEY], "metadata")
        version = table.get("format_version")
        if type(version) is not int or version not in FORMAT_VERSIONS:
            known = ", ".join(map(str, FORMAT_VERSIONS))
            raise AdapterError(f"adapter format version {version!r} is unknown; this release reads {known}")
        try:
            return cls.model_validate_json(metadata[METADATA_KEY])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])[:200]
            raise AdapterError(f"metadata field {place!r}: {first['msg'][:300]}") from error
