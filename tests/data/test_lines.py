"""Lines of text files: marked, compressed, in another encoding, damaged."""

import gzip

import pytest

from optical.data.lines import json_object, lines
from optical.errors import DataError


def write(path, data):
    data = data if isinstance(data, bytes) else data.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    file = write(tmp_path / "a.tsv", b"\xef\xbb\xbfone\tmoja\r\ntwo\tmbili\r\n")
    assert list(lines(file)) == [(1, "one\tmoja"), (2, "two\tmbili")]


def test_only_a_line_feed_ends_a_line(tmp_path):
    file = write(tmp_path / "a.txt", "one\u2028still one\x0b\x85\ntwo")
    assert list(lines(file)) == [(1, "one\u2028still one\x0b\x85"), (2, "two")]


def test_an_empty_file_has_no_lines(tmp_path):
    for name in ("a.tsv", "a.tsv.gz"):
        assert list(lines(write(tmp_path / name, b""))) == []


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_a_byte_that_is_not_utf8_is_named_with_its_line(tmp_path, name):
    file = write(tmp_path / name, b"caf\xc3\xa9\tmkahawa\nb\tb\ncaf\xe9\tmkahawa\n")
    with pytest.raises(DataError) as caught:
        list(lines(file))
    assert str(caught.value) == (
        f"not UTF-8: byte 0xe9, number 4 of the line, at {file}:3; save the file as UTF-8, for example:"
        f" iconv -f WINDOWS-1252 -t UTF-8 {name} > utf8-{name}"
    )


def test_utf16_is_recognised_for_the_advice(tmp_path):
    file = write(tmp_path / "a.tsv", "one\tmoja\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"byte 0xff, number 1 of the line, at .*:1; .*iconv -f UTF-16 "):
        list(lines(file))


def test_unreadable_files_say_what_is_wrong_with_them(tmp_path):
    with pytest.raises(DataError, match=r"^no such file: .*absent\.tsv; check the path, which is relative to /"):
        list(lines(tmp_path / "absent.tsv"))
    with pytest.raises(DataError, match=r"^cannot read \(Is a directory\): "):
        list(lines(tmp_path))
    (tmp_path / "plain.gz").write_bytes(b"one\tmoja\n")
    with pytest.raises(DataError, match=r"^damaged gzip file \(Not a gzipped file .*plain\.gz; fetch or compress"):
        list(lines(tmp_path / "plain.gz"))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"one\tmoja\n" * 99)[:-9])
    with pytest.raises(DataError, match=r"^damaged gzip file .*cut\.gz;"):
        list(lines(tmp_path / "cut.gz"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [("{", "Expecting"), ("[1]", "list in place of an object"), (r'{"a": "\ud83d"}', "surrogates not allowed")],
)
def test_what_is_no_json_object_is_a_value_error(text, fault):
    with pytest.raises(ValueError, match=fault):
        json_object(text)


def test_a_whole_surrogate_pair_is_one_character():
    assert json_object(r'{"a": "\ud83d\ude00"}') == {"a": "😀"}
