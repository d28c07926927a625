"""Labelled pairs: the folder's own tsv, the published files of XNLI and PAWS-X, data sets of the hub, broken input."""

from __future__ import annotations

import gzip

import pytest

from optical.data.labelled_pairs import TASKS, LabelledPair, check_parallel, read_labelled_pairs
from optical.errors import DataError

XNLI, PAWSX, STS = TASKS["xnli"], TASKS["pawsx"], TASKS["sts"]
COLUMNS = "language\tgold_label\tsentence1_parse\tsentence1\tsentence2\tpromptID\tpairID"


def write(path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_folder_has_a_file_for_each_language(tmp_path):
    write(tmp_path / "dev.en.tsv", "neutral\tI drink.\tI eat.\ncontradictory\tIt  rains.\tIt is dry.\n")
    (tmp_path / "dev.sw.tsv.gz").write_bytes(gzip.compress(b"entailment\tNinakunywa.\tNakunywa.\n"))
    english, swahili = (read_labelled_pairs(str(tmp_path), lang, XNLI) for lang in ("en", "sw"))
    drink, rain = LabelledPair(1, "I drink.", "I eat."), LabelledPair(2, "It rains.", "It is dry.")
    assert english.items == {"0": drink, "1": rain}
    assert (english.numbered, swahili.items["0"].gold) == (True, 0)
    assert read_labelled_pairs(str(tmp_path / "dev.{lang}.tsv"), "en", XNLI).items == english.items


def test_the_published_file_of_xnli_has_all_languages_in_one(tmp_path):
    rows = ["en\tneutral\t(x)\tI drink.\tI eat.\t1\t7", "sw\tneutral\t(x)\tNinakunywa.\tNinakula.\t1\t7"]
    rows += ["sw\t-\t(x)\tSoko.\tNyumba.\t1\t8", 'sw\tentailment\t(x)\t"Soko" ni\tNyumba.\t1\t9']
    write(tmp_path / "xnli.dev.tsv", "\n".join([COLUMNS, *rows]))
    read = read_labelled_pairs(str(tmp_path), "sw", XNLI)
    assert (list(read.items), read.ungraded, read.numbered) == (["7", "9"], 1, False)
    assert read.items["9"] == LabelledPair(0, '"Soko" ni', "Nyumba.")
    with pytest.raises(DataError, match=r"no pairs in fr in .*xnli.dev.tsv, only in en, sw; name other"):
        read_labelled_pairs(str(tmp_path), "fr", XNLI)


def test_the_published_files_of_pawsx_have_a_folder_for_each_language(tmp_path):
    write(tmp_path / "de/dev_2k.tsv", "id\tsentence1\tsentence2\tlabel\n3\tEins.\tZwei.\t1\n")
    assert read_labelled_pairs(str(tmp_path), "de", PAWSX).items == {"3": LabelledPair(1, "Eins.", "Zwei.")}
    write(tmp_path / "de/translated_train.tsv", "id\tsentence1\tsentence2\tlabel\n4\tDrei.\tVier.\t0\n")
    assert list(read_labelled_pairs(str(tmp_path), "de", PAWSX, "train").items) == ["4"]


def test_similarity_has_numbers(tmp_path):
    write(tmp_path / "dev.en.tsv", "3.5\tA dog.\tA cat.\n")
    assert read_labelled_pairs(str(tmp_path), "en", STS).items["0"].gold == 3.5
    write(tmp_path / "dev.sw.tsv", "nan\tA dog.\tA cat.\n")
    with pytest.raises(DataError, match=r"'nan' is no score of similarity, at .*dev.sw.tsv:1; give a number"):
        read_labelled_pairs(str(tmp_path), "sw", STS)


def test_without_a_part_the_only_file_is_taken(tmp_path):
    write(tmp_path / "all.en.tsv", "neutral\tI drink.\tI eat.\n")
    assert len(read_labelled_pairs(str(tmp_path), "en", XNLI, None).items) == 1
    write(tmp_path / "more.en.tsv", "neutral\tI drink.\tI eat.\n")
    with pytest.raises(DataError, match=r"several parts in en: all.en.tsv, more.en.tsv; name one"):
        read_labelled_pairs(str(tmp_path), "en", XNLI, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "neutral\tI drink.\tI eat.\nmaybe\tIt rains.\tIt is dry.\n",
            r"unknown label 'maybe' at \S+dev.en.tsv:2; the l",
        ),
        ("neutral\tI drink.\t \n", r"the second sentence is empty at \S+dev.en.tsv:1; fill it, or cut the item"),
        ("neutral\t\tI eat.\n", r"the first sentence is empty at \S+dev.en.tsv:1"),
        ("neutral\tI drink.\n", r"2 columns at \S+dev.en.tsv:1; wanted is label<TAB>sentence"),
        ("neutral\tI drink.\tI eat.\n\n", r"no columns at \S+dev.en.tsv:2"),
        (
            "id\tsentence1\tsentence2\tlabel\n3\ta b\tc d\tneutral\n3\te\tf\tneutral\n",
            r"id '3' is there twice, again at \S+:3",
        ),
        ("", r"no pairs in \S+dev.en.tsv"),
    ],
)
def test_a_broken_line_is_one_message_with_its_place(tmp_path, text, said):
    write(tmp_path / "dev.en.tsv", text)
    with pytest.raises(DataError, match=said):
        read_labelled_pairs(str(tmp_path), "en", XNLI)


def test_a_language_that_is_missing_is_told_with_those_that_are_there(tmp_path):
    write(tmp_path / "dev.en.tsv", "neutral\tI drink.\tI eat.\n")
    with pytest.raises(
        DataError, match=r"no pairs of the part 'dev' in so in \S+: it has dev.en.tsv; wanted is dev.so.tsv"
    ):
        read_labelled_pairs(str(tmp_path), "so", XNLI)
    with pytest.raises(DataError, match="no such folder, file or hub id of labelled pairs: nowhere; check the path"):
        read_labelled_pairs("nowhere", "so", XNLI)


def pairs_of(path, text: str):
    return read_labelled_pairs(str(write(path, text)), "xx", XNLI)


def test_rows_of_two_languages_have_to_be_the_same_items(tmp_path):
    rows = [f"neutral\ta {k}\tb {k}\n" for k in range(20)]
    english = pairs_of(tmp_path / "en.tsv", "".join(rows))
    with pytest.raises(DataError, match=r"sw.tsv has 19 pairs and \S+en.tsv 20, and without a column of ids row i has"):
        check_parallel({"en": english, "sw": pairs_of(tmp_path / "sw.tsv", "".join(rows[1:]))})
    other = [row.replace("neutral", "entailment") for row in rows]
    assert check_parallel({"en": english, "sw": pairs_of(tmp_path / "sw.tsv", "".join(other[:2] + rows[2:]))}) == {
        "sw": 2
    }
    with pytest.raises(DataError, match=r"3 of 20 items have another label in sw than in en, the first of them 17 in"):
        check_parallel({"en": english, "sw": pairs_of(tmp_path / "sw.tsv", "".join(rows[3:] + other[:3]))})


def test_with_ids_languages_may_have_different_rows(tmp_path):
    head = "id\tsentence1\tsentence2\tlabel\n"
    english = pairs_of(tmp_path / "en.tsv", head + "1\ta\tb\tneutral\n2\tc\td\tneutral\n")
    assert check_parallel({"en": english, "de": pairs_of(tmp_path / "de.tsv", head + "2\te\tf\tneutral\n")}) == {
        "de": 0
    }
    with pytest.raises(DataError, match="share no id"):
        check_parallel({"en": english, "de": pairs_of(tmp_path / "de.tsv", head + "9\te\tf\tneutral\n")})


def test_a_data_set_of_the_hub_is_read_by_datasets(tmp_path, monkeypatch):
    """A local folder of the form that the hub has, which ``datasets`` loads by the same code."""
    card = "---\nconfigs:\n- config_name: sw\n  data_files:\n  - {split: validation, path: sw.jsonl}\n"
    card += "dataset_info:\n- config_name: sw\n  features:\n  - {name: premise, dtype: string}\n"
    card += "  - {name: hypothesis, dtype: string}\n  - name: label\n    dtype:\n      class_label:\n"
    card += "        names: {'0': entailment, '1': neutral, '2': contradiction}\n---\n"
    write(tmp_path / "home/facebook/xnli/README.md", card)
    rows = ['{"premise": "Maji.", "hypothesis": "Mto.", "label": 2}']
    rows += ['{"premise": "Soko.", "hypothesis": "Duka.", "label": -1}']
    write(tmp_path / "home/facebook/xnli/sw.jsonl", "\n".join(rows))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("optical.data.labelled_pairs.exists", lambda _: False)
    monkeypatch.chdir(tmp_path / "home")
    read = read_labelled_pairs("facebook/xnli", "sw", XNLI)
    assert (read.items, read.ungraded) == ({"0": LabelledPair(2, "Maji.", "Mto.")}, 1)
    with pytest.raises(DataError, match=r"facebook/xnli \(fr, validation\) cannot be had from the hub: "):
        read_labelled_pairs("facebook/xnli", "fr", XNLI)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    import huggingface_hub

    def info(self, name: str, timeout: float) -> None:
        asked.append(name)
        raise ConnectionError

    asked: list[str] = []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    with pytest.raises(DataError, match=r"facebook/xnli: no such folder or file, and the hub of data sets cannot be"):
        read_labelled_pairs("facebook/xnli", "sw", XNLI)
    assert asked == ["facebook/xnli"]
