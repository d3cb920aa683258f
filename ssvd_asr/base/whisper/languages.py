"""Codes of Whisper's languages: its own, most of them of ISO 639-1, and those of ISO 639-3 that we use.

Source of the list: openai/whisper, whisper/tokenizer.py, LANGUAGES.
"""

from __future__ import annotations

from ssvd_asr import iso_639

_CODES = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg
lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so
af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue
"""
_OWN = {"haw": "haw", "jw": "jav", "yue": "yue"}  # not of ISO 639-1
ISO_639_3: dict[str, str] = {code: _OWN.get(code) or iso_639.ISO_639_3[code] for code in _CODES.split()}
