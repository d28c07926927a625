"""Hunspell dictionaries are spelled out: affixes of both kinds, crossed and one after another, with all flags."""

from __future__ import annotations

import pytest

from optical.data.hunspell import word_forms
from optical.errors import DataError

AFF = """SET UTF-8
NEEDAFFIX X
FORBIDDENWORD !
PFX A Y 2
PFX A 0 ana .
PFX A ku ali ku
SFX S Y 3
SFX S 0 ni [^aei]
SFX S a ani a
SFX S 0 isha/T [ei]
SFX T N 1
SFX T a wa sha
"""
DIC = """5
soma/A
mto/S\tpo:noun
kumbuka/AS
pendeke/SX
bad/!
"""


def written(folder, aff=AFF, dic=DIC, encoding="utf-8"):
    (folder / "sw.aff").write_bytes(aff.encode(encoding))
    (folder / "sw.dic").write_bytes(dic.encode(encoding))
    return folder / "sw.dic"


def test_every_form_is_spelled_out(tmp_path):
    dictionary = written(tmp_path)
    expected = {
        "soma", "anasoma", "mto", "mtoni", "kumbuka", "anakumbuka", "alimbuka", "kumbukani", "anakumbukani",
        "alimbukani", "pendekeisha", "pendekeishwa",
    }  # fmt: skip
    assert set(word_forms(dictionary)) == expected
    assert set(word_forms(tmp_path / "sw.aff")) == expected  # either half names the dictionary


@pytest.mark.parametrize(
    ("aff", "dic"),
    [
        ("FLAG long\nSFX Aa Y 1\nSFX Aa 0 ni .\n", "1\nmto/AaBb\n"),
        ("FLAG num\nSFX 12 Y 1\nSFX 12 0 ni .\n", "1\nmto/3,12\n"),
        ("SET UTF-8\nFLAG UTF-8\nSFX ñ Y 1\nSFX ñ 0 ni .\n", "1\nmto/ñ\n"),
        ("AF 2\nAF Q\nAF RS\nSFX S Y 1\nSFX S 0 ni .\n", "1\nmto/2\n"),
    ],
)
def test_flags_of_every_kind(tmp_path, aff, dic):
    assert set(word_forms(written(tmp_path, aff, dic))) == {"mto", "mtoni"}


def test_the_encoding_is_that_of_the_affix_file(tmp_path):
    dictionary = written(tmp_path, "SET ISO8859-1\nSFX S Y 1\nSFX S 0 s .\n", "1\ncafé/S\n", "latin-1")
    assert set(word_forms(dictionary)) == {"café", "cafés"}


@pytest.mark.parametrize(
    ("aff", "dic", "told"),
    [
        (DIC, AFF, r"sw\.dic:1; is it the \.aff file"),
        ("SET klingon\n", DIC, r"nobody knows, klingon: .*sw\.aff:1"),
        ("SFX S Y 1\nSFX S 0\n", DIC, r"too few columns: .*sw\.aff:2"),
        ("SFX S Y 1\nSFX S 0 ni [a\n", DIC, r"condition '\[a'.*sw\.aff:2"),
        ("SET ASCII\n", "1\nñ\n", r"not ascii: byte 0xc3 at .*sw\.dic:2"),
    ],
)
def test_what_is_no_dictionary_is_told(tmp_path, aff, dic, told):
    with pytest.raises(DataError, match=told):
        list(word_forms(written(tmp_path, aff, dic)))


def test_both_halves_are_needed(tmp_path):
    (tmp_path / "sw.dic").write_text(DIC, encoding="utf-8")
    with pytest.raises(DataError, match=r"no sw\.aff beside it"):
        list(word_forms(tmp_path / "sw.dic"))
