"""What `import ssvd_asr` promises: every name it lists is there, and none is loaded before it is used."""

import subprocess
import sys

import pytest

import ssvd_asr


@pytest.mark.parametrize("name", ssvd_asr.__all__)
def test_every_listed_name_can_be_had(name: str) -> None:
    assert getattr(ssvd_asr, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'merge_everything'"):
        _ = ssvd_asr.merge_everything


def test_import_loads_neither_torch_nor_espnet() -> None:
    code = "import ssvd_asr, sys; print([m for m in ('torch', 'espnet2', 'numpy') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
