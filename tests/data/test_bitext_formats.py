"""Every reader, on files as they come: marked, compressed, broken in one line, broken as a whole."""

import gzip
import json

import pytest

from optical.data import bitext_formats
from optical.data.bitext_formats import Moses, Row
from optical.errors import DataError

TMX = """<?xml version="1.0" encoding="{encoding}"?>
<tmx version="1.4"><header srclang="en-US" datatype="plaintext"/>
<body>
<tu tuid="1">
  <tuv xml:lang="en-US">
  <seg>Press <bpt i="1">&lt;b&gt;</bpt>Save<ept i="1">&lt;/b&gt;</ept> now<ph>{{0}}</ph>.</seg></tuv>
  <tuv xml:lang="sw-KE"><prop type="x">no text</prop><seg>Bonyeza <hi>Hifadhi</hi> sasa.</seg></tuv>
</tu>
<tu><tuv xml:lang="EN_gb"><seg>Colour</seg></tuv><tuv xml:lang="fr"><seg>Couleur</seg></tuv></tu>
<tu><tuv lang="en"><seg>Water</seg></tuv><tuv lang="sw"><seg>Maji</seg></tuv>
<tuv lang="sw-TZ"><seg>Other</seg></tuv></tu>
</body></tmx>
"""

PO = r"""# Translators
#, fuzzy
msgid ""
msgstr ""
"Language: sw\n"

#: view.py:3
msgctxt "menu"
msgid "Open"
msgstr "Fungua"
msgid ""
"Two lines \"quoted\"\n"
"and a tab\there"
msgstr "Mistari "
"miwili"

msgid "One file"
msgid_plural "%d files"
msgstr[0] "Faili moja"
msgstr[1] "Faili %d"

#, python-format, fuzzy
msgid "Unsure"
msgstr "Labda"

msgid "Later"
msgstr ""
msgid Broken
msgstr "Imevunjika"
#, fuzzy
#~ msgid "Gone"
#~ msgstr "Imeondoka"

msgid "Last"
msgstr "Mwisho"
"""


def write(path, data):
    data = data if isinstance(data, bytes) else data.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def test_columns_keep_quotes_and_mark_single_bad_lines(tmp_path):
    file = write(tmp_path / "a.tsv", 'He said "no\tAlisema "hapana\nthree\tcells\there\n\nalone\na\tb\n')
    assert list(bitext_formats.columns(file, "sw")) == [
        Row(1, 'He said "no', 'Alisema "hapana'),
        Row(2, "", "", bitext_formats.WRONG_COLUMNS),
        Row(3, "", ""),
        Row(4, "", "", bitext_formats.WRONG_COLUMNS),
        Row(5, "a", "b"),
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"en": "one", "sw": "moja", "fr": "un"},
        {"english": "one", "foreign": "moja"},
        {"source": "one", "target": "moja"},
        {"english": "one", "non_english": "moja"},
        {"id": 7, "translation": {"en": "one", "sw": "moja"}},
    ],
)
def test_json_lines_know_the_usual_keys(tmp_path, record):
    file = write(tmp_path / "a.jsonl.gz", json.dumps(record))
    assert list(bitext_formats.json_lines(file, "sw")) == [Row(1, "one", "moja")]


def test_json_lines_mark_what_they_cannot_use(tmp_path):
    bad = ["{", "[1]", '"text"', '{"en": "half \\ud83d", "sw": "nusu"}']
    other = ['{"en": "one"}', '{"en": 1, "sw": "moja"}', '{"translation": {"en": "one", "fr": "un"}}']
    file = write(tmp_path / "a.jsonl", "\n".join([*bad, "", *other, '{"en": "\\ud83d\\ude00 a", "sw": "b"}']))
    rows = list(bitext_formats.json_lines(file, "sw"))
    assert [row.fault for row in rows] == ["bad JSON"] * 4 + [""] + ["no pair for en/sw"] * 3 + [""]
    assert rows[-1] == Row(9, "\U0001f600 a", "b")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", ["a.tmx", "a.tmx.gz"])
def test_tmx_regions_and_inline_elements(tmp_path, name, encoding):
    file = write(tmp_path / name, TMX.format(encoding=encoding).encode(encoding))
    assert list(bitext_formats.tmx(file, "sw")) == [
        Row(4, "Press Save now.", "Bonyeza Hifadhi sasa."),
        Row(9, "", "", "no pair for en/sw"),
        Row(10, "Water", "Maji"),
    ]


def test_tmx_language_of_the_caller_may_have_a_region(tmp_path):
    file = write(tmp_path / "a.tmx", TMX.format(encoding="utf-8"))
    assert [row.foreign for row in bitext_formats.tmx(file, "fr-FR")] == ["", "Couleur", ""]


def test_tmx_on_a_single_long_line_and_with_a_namespace(tmp_path):
    unit = '<tu><tuv xml:lang="en"><seg>Water {0}</seg></tuv><tuv xml:lang="sw"><seg>Maji {0}</seg></tuv></tu>'
    body = "".join(unit.format(i) for i in range(2_000))  # more than one chunk
    file = write(tmp_path / "a.tmx", f'<tmx xmlns="http://www.lisa.org/tmx14"><body>{body}</body></tmx>')
    rows = list(bitext_formats.tmx(file, "sw"))
    assert len(rows) == 2_000
    assert rows[-1] == Row(1, "Water 1999", "Maji 1999")


def test_tmx_lets_go_of_units_that_were_read(tmp_path, monkeypatch):
    unit = '<tu>\n<tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="sw"><seg>b</seg></tuv></tu>\n'
    file = write(tmp_path / "a.tmx", f"<tmx><body>{unit * 500}</body></tmx>")
    bodies = []
    events = bitext_formats._xml_events

    def watched(path):
        for number, event, element in events(path):
            if element.tag == "body":
                bodies.append(element)
            yield number, event, element

    monkeypatch.setattr(bitext_formats, "_xml_events", watched)
    assert max(len(bodies[0]) for _ in bitext_formats.tmx(file, "sw")) <= 1


def test_broken_xml_is_named_with_its_line(tmp_path):
    cut = write(tmp_path / "cut.tmx", "<tmx>\n<body>\n<tu>")
    with pytest.raises(DataError, match=r"^broken XML \(no element found, column 5\) at .*cut\.tmx:3; repair"):
        list(bitext_formats.tmx(cut, "sw"))
    latin = write(tmp_path / "latin.tmx", b"<tmx>\n<body>caf\xe9 </body></tmx>")
    with pytest.raises(DataError, match=r"^broken XML \(not well-formed \(invalid token\), column \d+\) at .*:2; "):
        list(bitext_formats.tmx(latin, "sw"))


def test_po_entries_of_every_kind(tmp_path):
    file = write(tmp_path / "a.po", PO)
    assert list(bitext_formats.po(file, "sw")) == [
        Row(9, "Open", "Fungua"),
        Row(11, 'Two lines "quoted"\nand a tab\there', "Mistari miwili"),
        Row(17, "One file", "Faili moja"),
        Row(17, "%d files", "Faili %d"),
        Row(23, "", "", "fuzzy"),
        Row(26, "", "", "not translated"),
        Row(28, "", "", "bad PO line"),
        Row(34, "Last", "Mwisho"),
    ]


def test_a_broken_po_line_takes_its_entry_with_it(tmp_path):
    file = write(
        tmp_path / "a.po", 'msgid "Cut"\nmsgid unquoted\nmsgstr "Kata"\n"more"\nmsgid "Next"\nmsgstr "Inayofuata"'
    )
    assert list(bitext_formats.po(file, "sw")) == [Row(2, "", "", "bad PO line"), Row(5, "Next", "Inayofuata")]


def test_po_of_a_language_with_one_plural_form(tmp_path):
    file = write(tmp_path / "a.po", 'msgid "One file"\nmsgid_plural "%d files"\nmsgstr[0] "%d fayl"\n')
    assert list(bitext_formats.po(file, "xx")) == [Row(1, "One file", "%d fayl")]


def test_moses_lines_stay_aligned(tmp_path):
    english = write(tmp_path / "c.en.gz", "one\n\nthree\u2028x\n")
    foreign = write(tmp_path / "c.sw", "moja\r\nmbili\r\ntatu\r\n")
    rows = list(bitext_formats.moses(Moses(english, foreign)))
    assert rows == [Row(1, "one", "moja"), Row(2, "", "mbili"), Row(3, "three\u2028x", "tatu")]


@pytest.mark.parametrize(("left", "right"), [(3, 5), (5, 3), (0, 2)])
def test_moses_files_of_different_length_give_both_counts(tmp_path, left, right):
    english, foreign = write(tmp_path / "c.en", "a\n" * left), write(tmp_path / "c.sw", "b\n" * right)
    with pytest.raises(DataError) as caught:
        list(bitext_formats.moses(Moses(english, foreign)))
    assert str(caught.value) == (
        f"Moses files of different length: {english}:{left} and {foreign}:{right} are the last lines ({left} and"
        f" {right} lines); align them again, so that line n of one translates line n of the other"
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [("a.TSV.GZ", ".tsv"), ("a.b.jsonl", ".jsonl"), ("a.po", ".po"), ("a.gz", None), ("tsv", None), ("a.docx", None)],
)
def test_the_name_tells_the_format(tmp_path, name, found):
    assert bitext_formats.format_of(tmp_path / name) == found
