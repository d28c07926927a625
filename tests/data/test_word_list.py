"""Words of a language from lists, documents and logs; what is no list of the language is refused."""

from __future__ import annotations

import gzip

import pytest

from optical.data import word_list
from optical.data.word_list import check_language, count_words, read_word_list
from optical.errors import DataError


def test_one_word_a_line_a_frequency_list_and_running_text(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("maji\nMtoto\nng’ombe\nwatu\t12\nnyumba 3\nMtoto anakunywa maji, 2 mara.\n", encoding="utf-8")
    read = read_word_list(path)
    assert read.counts == {
        "maji": 2, "mtoto": 2, "ng'ombe": 1, "watu": 12, "nyumba": 3, "anakunywa": 1, "mara": 1
    }  # fmt: skip
    assert list(read.sources) == [str(path)]
    assert read.cut == ""


def test_a_folder_of_documents_and_logs(tmp_path):
    with gzip.open(tmp_path / "docs.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"id": "kwanza", "title": "Maji", "text": "Maji ya mto", "year": 1}\n\n')
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "queries.tsv").write_text("1\tSoko liko wapi?\n", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0")
    (tmp_path / ".hidden.txt").write_text("siri\n", encoding="utf-8")
    read = read_word_list(tmp_path)
    assert read.counts == {"maji": 2, "ya": 1, "mto": 1, "soko": 1, "liko": 1, "wapi": 1}
    assert len(read.sources) == 2


def test_a_hunspell_dictionary(tmp_path):
    (tmp_path / "sw.aff").write_text("SFX S Y 1\nSFX S 0 ni .\n", encoding="utf-8")
    (tmp_path / "sw.dic").write_text("1\nmto/S\n", encoding="utf-8")
    assert read_word_list(tmp_path / "sw.dic").counts == {"mto": 1, "mtoni": 1}
    assert read_word_list(tmp_path).counts == {"mto": 1, "mtoni": 1}


def test_a_gigantic_file_is_read_up_to_the_cap(tmp_path, monkeypatch):
    monkeypatch.setattr(word_list, "MOST_CHARACTERS", 10)
    (tmp_path / "a.txt").write_text("maji\nmtoto\nnyumba\nsoko\n", encoding="utf-8")
    read = read_word_list(tmp_path / "a.txt")
    assert read.counts == {"maji": 1, "mtoto": 1, "nyumba": 1}
    assert "first 10 characters" in read.cut


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"maji\n\xff\xfe\n", r"not UTF-8.*a\.txt:2"),
        ("a.txt", b"maji\nmto\0to\n", r"byte 0.*a\.txt:2"),
        ("a.txt", b"12\n34\n", r"no word in .*a\.txt"),
        ("a.jsonl", b'{"text": "maji"}\n{"text"\n', r"not a JSON object.*a\.jsonl:2"),
        ("a.png", b"", r"no text file in the folder"),
    ],
)
def test_bad_lists_are_told_by_place(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        read_word_list(tmp_path if name == "a.png" else tmp_path / name)
    with pytest.raises(DataError, match="no such word list"):
        read_word_list(tmp_path / "none")


ENGLISH = [f"the{'abcdefghij'[k % 10]}{'klmno'[k // 10]}" for k in range(50)]
FOREIGN = [f"ma{'abcdefghij'[k % 10]}{'klmno'[k // 10]}" for k in range(50)]


def test_a_list_of_another_script_or_of_english_is_refused():
    check_language(FOREIGN + ENGLISH[:20] + ["мир"], ENGLISH, FOREIGN, "list")
    with pytest.raises(DataError, match=r"67 % of the 3 words of list are in another script .*CYRILLIC.*LATIN"):
        check_language(["мир", "вода", "maji"], ENGLISH, FOREIGN, "list")
    with pytest.raises(DataError, match=r"looks English: .* 30 on the English side alone \(75 %\) and 10 "):
        check_language(ENGLISH[:30] + FOREIGN[:10], ENGLISH, FOREIGN, "list")
    check_language(ENGLISH[:15], ENGLISH, FOREIGN, "a list too short to be judged")


def test_words_are_counted_folded():
    assert count_words(["Maji, maji!", "MAJI ya"]) == {"maji": 3, "ya": 1}
