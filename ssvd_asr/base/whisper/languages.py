"""Codes of Whisper's languages: its own, mostly of ISO 639-1, and those of ISO 639-3 that we use.

Source of the list: openai/whisper, whisper/tokenizer.py, LANGUAGES.
"""

from __future__ import annotations

import re

_TABLE = """
en eng zh zho de deu es spa ru rus ko kor fr fra ja jpn pt por tr tur pl pol ca cat nl nld ar ara sv swe
it ita id ind hi hin fi fin vi vie he heb uk ukr el ell ms msa cs ces ro ron da dan hu hun ta tam no nor
th tha ur urd hr hrv bg bul lt lit la lat mi mri ml mal cy cym sk slk te tel fa fas lv lav bn ben sr srp
az aze sl slv kn kan et est mk mkd br bre eu eus is isl hy hye ne nep mn mon bs bos kk kaz sq sqi sw swa
gl glg mr mar pa pan si sin km khm sn sna yo yor so som af afr oc oci ka kat be bel tg tgk sd snd gu guj
am amh yi yid lo lao uz uzb fo fao ht hat ps pus tk tuk nn nno mt mlt sa san lb ltz my mya bo bod tl tgl
mg mlg as asm tt tat haw haw ln lin ha hau ba bak jw jav su sun yue yue
"""
ISO_639_3: dict[str, str] = dict(re.findall(r"\b(\w{2,3})\s(\w{3})\b", _TABLE))
