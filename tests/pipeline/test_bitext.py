"""Bitext examined: every line is kept or has its reason, and a repaired copy has what belongs together."""

from zlib import crc32

import numpy as np
import pytest

from optical.data.bitext import Pair, read_bitext
from optical.data.bitext_languages import Side
from optical.errors import DataError
from optical.pipeline import bitext
from optical.pipeline.bitext import BY_CHANCE, Reader, beside, check_clean, examine, write_clean
from tests.vocabulary.test_line_shifts import late

NAMES = ("farming", "geography")


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Some 220 pairs of the sample."""
    return read_bitext([f"data/sample/sw/bitext/{name}.tsv" for name in NAMES], "sw").pairs


def written(path, pairs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{english}\t{foreign}\n" for english, foreign in pairs))
    return path


def test_every_line_is_kept_or_has_the_reason_that_distilling_says_too(tmp_path, pairs):
    file = tmp_path / "talk" / "a.tsv"
    written(file, [*pairs, pairs[0], Pair("OK then", "ok THEN"), Pair("", "Maji")])
    file.write_text(file.read_text() + "no tab\n")
    (file.parent / "source.toml").write_text('licence = "CC BY 4.0"')
    found = examine(str(file), "sw")
    read = read_bitext(file, "sw")
    assert found.pairs == read.pairs
    assert found.left_out == {reason: (n, read.examples[reason]) for reason, n in read.skipped.items()}
    assert found.parts == [("a", str(file), len(pairs) + 4, len(pairs), "CC BY 4.0")]
    assert (found.shifts, found.swapped, found.repaired) == ([], False, 0)
    assert sum(found.ratios) == len(pairs)
    assert isinstance(found.facts()["unlikely"], list)


def test_several_sources_and_formats_are_one_bitext(tmp_path, pairs):
    tsv = written(tmp_path / "a.tsv", pairs[:100])
    english, foreign = tmp_path / "b.en", tmp_path / "b.sw"
    english.write_text("".join(f"{pair.english}\n" for pair in pairs[100:]))
    foreign.write_text("".join(f"{pair.foreign}\n" for pair in pairs[100:]))
    found = examine(f"{tsv},{english},{foreign}@0.5", "sw")
    assert [(part.name, part.lines) for part in found.parts] == [("a", 100), ("b", len(pairs) - 100)]
    assert found.lines[-1].place == f"{english}:{len(pairs) - 100}"


def test_shifted_lines_are_left_out_or_put_beside_their_translations(tmp_path, pairs):
    file = written(tmp_path / "a.tsv", late(pairs, 60, 160, 1))
    found = examine(str(file), "sw")
    (shift,) = found.shifts
    assert (shift.file, shift.by) == (file, 1)
    assert abs(shift.first - 61) <= 3
    assert abs(shift.last - 159) <= 3
    count, first = found.left_out["shifted by +1"]
    assert (count, first) == (shift.last - shift.first + 1, f"{file}:{shift.first}")
    repaired = examine(str(file), "sw", repair=True)
    assert len(set(repaired.pairs) & set(pairs)) >= len(pairs) - 8
    assert len(set(repaired.pairs) - set(pairs)) <= 4
    assert repaired.repaired >= 92


@pytest.mark.parametrize("by", [1, -1])
def test_lines_whose_translation_is_beyond_the_file_have_no_place(tmp_path, pairs, by):
    moved = [pair.foreign for pair in pairs]
    tail, head = [*moved[:100], "Hapana.", *moved[100:-1]], [*moved[1:120], "Hapana.", *moved[120:]]
    moved = tail if by > 0 else head
    file = written(
        tmp_path / "a.tsv", [Pair(pair.english, foreign) for pair, foreign in zip(pairs, moved, strict=True)]
    )
    found = examine(str(file), "sw", repair=True)
    assert len(set(found.pairs) & set(pairs)) >= len(pairs) - 4
    edge = found.lines[-1 if by > 0 else 0]
    assert edge.fault == "shifted, its translation is missing"


def test_a_translation_that_two_lines_would_take_goes_to_one(tmp_path, pairs):
    found = examine(str(written(tmp_path / "a.tsv", late(pairs, 60, 160, 1))), "sw", repair=True)
    foreign = [pair.foreign for pair in found.pairs]
    assert len(foreign) == len(set(foreign))


def test_swapped_columns_are_exchanged(tmp_path, pairs):
    found = examine(str(written(tmp_path / "a.tsv", [Pair(f, e) for e, f in pairs])), "sw")
    assert found.swapped
    assert found.pairs == pairs


def test_single_lines_that_are_swapped_or_not_translated(tmp_path, pairs):
    lines = list(pairs)
    lines[20], lines[30] = Pair(*reversed(pairs[20])), Pair(pairs[30].english, pairs[31].english)
    file = written(tmp_path / "a.tsv", lines)
    found = examine(str(file), "sw")
    assert found.left_out == {"sides swapped": (1, f"{file}:21"), "not translated": (1, f"{file}:31")}
    assert pairs[20] in examine(str(file), "sw", repair=True).pairs


def test_pairs_that_hardly_translate_each_other_are_named_and_kept(tmp_path, pairs, monkeypatch):
    monkeypatch.setattr(bitext, "UNLIKELY", -2.0)  # so few pairs make little evidence
    lines = list(pairs)
    by_length = sorted(range(len(pairs)), key=lambda i: len(pairs[i].foreign))
    wrong = [*by_length[:3], *by_length[-3:]]
    for i, j in zip(wrong, reversed(wrong), strict=True):
        lines[i] = Pair(pairs[i].english, pairs[j].foreign)
    found = examine(str(written(tmp_path / "a.tsv", lines)), "sw")
    assert len({line.line - 1 for line in found.unlikely} & set(wrong)) >= 4
    assert len(found.unlikely) < 15
    assert len(found.pairs) == len(lines)


def test_the_copy_and_what_is_not_in_it(tmp_path, pairs):
    file = written(tmp_path / "in" / "a.tsv", [*pairs, Pair("Same", "same")])
    out = tmp_path / "out" / "clean.tsv"
    check_clean(out)
    write_clean(examine(str(file), "sw"), out)
    assert read_bitext(out.parent, "sw").pairs == pairs
    assert beside(out).read_text() == f"{file}:{len(pairs) + 1}\tsame on both sides\tSame\tsame\n"
    check_clean(out)  # what optical wrote may be written again


@pytest.mark.parametrize("name", ["clean.tsv", "clean.tsv.left-out"])
def test_what_others_wrote_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match=name):
        check_clean(tmp_path / "clean.tsv")


def test_a_copy_of_another_format_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"is a \.tsv, received .*clean\.jsonl; name it .*clean\.tsv"):
        check_clean(tmp_path / "clean.jsonl")


def test_nothing_to_examine(tmp_path):
    (tmp_path / "a.tsv").write_text("\n")
    with pytest.raises(DataError, match="no line of .* has two sides"):
        examine(str(tmp_path / "a.tsv"), "sw")


def test_a_side_is_described(pairs, tmp_path):
    english, foreign = examine(str(written(tmp_path / "a.tsv", pairs)), "sw").sides
    assert isinstance(english, Side)
    assert english.english > 0.2 > 0.01 > foreign.english
    assert list(foreign.scripts) == ["Latin"]


def hashed(texts):
    """Vectors by words, which "read" both sides where X has the English words too."""
    words = [[np.random.default_rng(crc32(word.encode())).normal(size=64) for word in text.split()] for text in texts]
    sums = np.array([np.sum(own, axis=0) for own in words])
    return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


def test_an_encoder_leaves_out_pairs_by_chance(tmp_path, pairs):
    right = [Pair(pair.english, f"{pair.foreign} {pair.english} {pair.english}") for pair in pairs]
    lines, moved = list(right), list(range(10, len(pairs), 12))
    for i, j in zip(moved, moved[1:] + moved[:1], strict=True):
        lines[i] = Pair(right[i].english, right[j].foreign)
    file = written(tmp_path / "a.tsv", lines)
    plain, found = examine(str(file), "sw"), examine(str(file), "sw", reader=Reader("words", hashed))
    gone = {line.line - 1 for line in found.lines if line.fault == BY_CHANCE}
    assert len(gone & set(moved)) >= 0.7 * len(moved)
    assert len(gone - set(moved)) <= 0.3 * len(moved)
    assert len(found.pairs) == len(plain.pairs) - len(gone)
    told = found.facts()["compared"]
    assert (told["encoder"], told["pairs"], told["reads"]) == ("words", len(plain.pairs), True)
    assert {one["place"] for one in told["suspected"]} == {f"{file}:{k + 1}" for k in gone}
    assert found.left_out[BY_CHANCE][0] == len(gone)
    assert not {line.line for line in found.unlikely} & {k + 1 for k in gone}
    write_clean(found, tmp_path / "clean.tsv")
    assert beside(tmp_path / "clean.tsv").read_text().count(BY_CHANCE) == len(gone)


def test_an_encoder_needs_enough_pairs(tmp_path, pairs):
    file = written(tmp_path / "a.tsv", pairs[:7])
    with pytest.raises(DataError, match="7 pairs are kept, and --encoder .* takes 50; leave it out"):
        examine(str(file), "sw", reader=Reader("words", hashed))
