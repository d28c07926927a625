"""Dictionaries: columns and FreeDict files to entries, and what is said of files that are none."""

import gzip
import re

import pytest

from optical.data import dictionary as module
from optical.data.bitext import Pair
from optical.data.dictionary import Entry, read_dictionary
from optical.errors import DataError

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
WORDS = [a + b for a in "abcdefghij" for b in "klmnopqrst"]
PAIRS = [Pair("the child drinks water", "mtoto anakunywa maji"), Pair("a house is big", "nyumba ni kubwa")]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix in (".gz", ".dz") else data)
    return path


def freedict(folder, name, title, articles, suffix=".dict.dz"):
    """Articles and their index, as dictfmt writes them: headword, start, length, the numbers in base 64."""
    text, rows = b"", []
    for head, article in {"00databaseshort": f"00-database-short\n     {title}\n", **articles}.items():
        rows.append((head, len(text), len(article.encode())))
        text += article.encode()
    rows += rows[-1:]  # two headwords of one article
    write(folder / f"{name}{suffix}", text)
    lines = [f"{head}\t{base64(start)}\t{base64(length)}" for head, start, length in rows]
    return write(folder / f"{name}.index", "\n".join(lines) + "\n")


def base64(number):
    return (base64(number // 64) if number >= 64 else "") + DIGITS[number % 64]


def test_columns_with_several_translations_and_remarks(tmp_path):
    lines = [
        "to drink; a swallow\tnywa, -nywa",
        "sock or stocking\tsoksi (pl. soksi [n])",
        "Kenya\tkenya",
        "house\tnyumba",
        "House \tnyumba",
        "what one says of somebody who left\talienda",
        "no tab",
        "\t",
        "(only a remark)\tneno",
    ]
    found = read_dictionary(write(tmp_path / "a.tsv.gz", "\n".join(lines)), "sw")
    assert found.entries == [
        Entry("drink", "nywa"), Entry("drink", "-nywa"), Entry("swallow", "nywa"), Entry("swallow", "-nywa"),
        Entry("sock", "soksi"), Entry("stocking", "soksi"), Entry("house", "nyumba"), Entry("House", "nyumba"),
    ]  # fmt: skip
    assert found.skipped == {"an explanation, not a translation": 1, "wrong number of columns": 1, "empty side": 2}
    assert found.examples["wrong number of columns"] == f"{tmp_path / 'a.tsv.gz'}:7"
    assert re.fullmatch("[0-9a-f]{64}", found.sources[str(tmp_path / "a.tsv.gz")])


@pytest.mark.parametrize("suffix", [".dict", ".dict.dz"])
def test_freedict_with_headwords_of_either_side(tmp_path, suffix):
    swahili = {
        "zuri": "zuri /zˈuri/ <adj>\n1.\nbeautiful, fine\n2.\ngood\n",
        "hakuna": "hakuna /hˈa/ <v, agr: 17>\n\nthere is not\n; there are not\n   See also: {wa na}\n\n",
        "šokki": "šokki /ʃˈokːɪ/ <n>\nshock 2.\nelimistön häiriö\n 3.\nvaikea järkytys\n",
    }
    english = {
        "surmise": "surmise /səː/\n1. kisia, dhani\n2. fikiri <v>\n see: {think}\n",
        "be sick": "be sick /biː/ <v>\n\numwa\n",
    }
    there = freedict(tmp_path, "freedict-swh-eng", "Swahili-English FreeDict", swahili, suffix)
    back = freedict(tmp_path, "freedict-eng-swh", "English - Swahili FreeDict", english, suffix)
    expected = [("beautiful", "zuri"), ("fine", "zuri"), ("good", "zuri"), ("there is not", "hakuna")]
    expected += [("there are not", "hakuna"), ("shock", "šokki")]
    assert read_dictionary(there, "sw").entries == expected
    articles = tmp_path / f"freedict-eng-swh{suffix}"
    both = [("surmise", "kisia"), ("surmise", "dhani"), ("surmise", "fikiri"), ("be sick", "umwa")]
    found = read_dictionary(articles, "sw")
    assert (found.entries, found.skipped) == (both, {})
    assert found.sources.keys() == {str(back), str(articles)}
    assert read_dictionary(tmp_path, "sw").entries == both + expected
    assert read_dictionary(f"{there}, {back}", "sw").entries == expected + both


def test_the_name_says_the_direction_where_the_title_does_not(tmp_path):
    index = freedict(tmp_path, "freedict-swh-eng", "A dictionary", {"maji": "maji\nwater\n"})
    assert read_dictionary(index, "sw").entries == [("water", "maji")]
    other = freedict(tmp_path, "words", "A dictionary", {"maji": "maji\nwater\n"})
    with pytest.raises(DataError, match=r"words\.index says which side is English"):
        read_dictionary(other, "sw")


def test_a_folder_of_languages(tmp_path):
    write(tmp_path / "so" / "a.tsv", "water\tbiyo")
    write(tmp_path / "sw" / "a.tsv", "water\tmaji")
    write(tmp_path / "sw" / "README.md", "not a dictionary")
    assert read_dictionary(tmp_path, "sw").entries == [("water", "maji")]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("none.tsv", None, ["no such dictionary", "none.tsv", ".dict.dz"]),
        ("empty.tsv", "", ["no entry", "empty.tsv:1", "English<TAB>sw"]),
        ("one.tsv", "\nwords\nof one column", ["no entry", "one.tsv:2", "English<TAB>sw"]),
        ("binary.tsv", b"\x7fELF\0\0", ["a binary file", "binary.tsv:1"]),
        ("latin.tsv", b"water\tmaji\ncheese\tfromag\xe9", ["not UTF-8", "latin.tsv:2"]),
        ("a.pdf", "%PDF", ["unknown format", "a.pdf", ".tsv"]),
        ("a.dict", "maji", ["without their index", "a.index"]),
        ("b.index", "maji\tA\tB", ["without its articles", "b.dict"]),
        ("c.dict.dz", "maji", ["c.index:1", "headword, start and length"]),
        ("swapped.tsv", "maji\twater\nnyumba\thouse\nkiti\tchair", ["swapped", "67% of the words", "swapped.tsv:1"]),
        (
            "french.tsv",
            "\n".join(f"water\t{word}" for word in WORDS),
            ["sw is another language", "0.0%", "french.tsv:1", "English and sw"],
        ),
        ("de.tsv", "\n".join(f"{word}\tmaji" for word in WORDS), ["English is another language", "de.tsv:1"]),
    ],
)
def test_what_is_no_dictionary_of_the_language_gets_one_message(tmp_path, name, text, says):
    if text is not None:
        write(tmp_path / name, text)
    write(tmp_path / "c.index", "maji\t?\tB\n")
    with pytest.raises(DataError) as caught:
        read_dictionary(tmp_path / name, "sw", PAIRS)
    assert [part for part in says if part not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_a_dictionary_of_the_language_is_taken_by_its_bitext(tmp_path):
    assert len(read_dictionary(write(tmp_path / "a.tsv", "water\tmaji\nchair\tkiti"), "sw", PAIRS).entries) == 2
    few = "\n".join(f"water\t{word}" for word in WORDS[:99])
    assert len(read_dictionary(write(tmp_path / "a.tsv", few), "sw", PAIRS).entries) == 99  # all that the bitext lacks


def test_a_gigantic_dictionary_is_refused_where_the_cap_is_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 2)
    with pytest.raises(DataError, match=r"more than 2 entries, reached at .*a\.tsv:3"):
        read_dictionary(write(tmp_path / "a.tsv", "a b\tc\nd\te\nf\tg\nh\ti"), "sw")
