"""What `import ssvd_asr` promises: every name it lists is there, and none is loaded before it is used."""

import subprocess
import sys

import pytest

import ssvd_asr


@pytest.mark.parametrize("name", ssvd_asr.__all__)
def test_every_listed_name_can_be_had(name: str) -> None:
    assert getattr(ssvd_asr, name) is not None


@pytest.mark.parametrize("name", ["adapt", "factorize", "load_adapter", "load_base", "transcribe"])
def test_the_functions_of_the_five_lines_are_functions_whatever_was_imported_before(name: str) -> None:
    """A submodule of the same name would take the function's place as soon as it is imported."""
    code = f"from ssvd_asr import *; import ssvd_asr; assert callable({name}) and callable(ssvd_asr.{name})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'merge_everything'"):
        _ = ssvd_asr.merge_everything


def test_import_loads_neither_torch_nor_espnet() -> None:
    code = "import ssvd_asr, sys; print([m for m in ('torch', 'espnet2', 'numpy') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
