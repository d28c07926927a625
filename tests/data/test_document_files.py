"""Documents that are a file each: text, Markdown, HTML, PDF."""

import pytest

from optical.data.document_files import html, markdown, pdf, plain_text
from optical.data.records import Doc
from optical.errors import DataError
from tests.data.conftest import write

MARKDOWN = """---
title: Reset it
url: https://h/reset
tags: [a, b]
day: 2026-01-02
id: is not the id
---
# Reset it

Open **Settings**, [click](https://x) `here`,<br>
now.

- one

| a | b |
|---|---|
| c | d |

<details>hidden</details>

```
code()
```
"""
PAGE = """<html><head><title>Pay a bill</title><style>p {}</style>
<link rel="canonical" href="https://help.example.org/pay"></head>
<body><nav><a href="/">Home</a></nav><main><h1>Pay a bill</h1><p>%s</p></main><script>alert(1)</script>
<footer>Imprint</footer></body></html>"""


def test_plain_text(tmp_path):
    assert plain_text(write(tmp_path / "a.txt", "\ufeffone\r\n two\n")) == Doc("", "", "one two")
    assert plain_text(write(tmp_path / "a.txt.gz", "one")).text == "one"
    with pytest.raises(DataError, match=rf"^not UTF-8: .* at {tmp_path}/b\.txt:2; save"):
        plain_text(write(tmp_path / "b.txt", b"one\ncaf\xe9"))


def test_markdown_without_its_marks(tmp_path):
    doc = markdown(write(tmp_path / "a.md", MARKDOWN))
    assert (doc.id, doc.title) == ("", "Reset it")
    assert doc.text == "Open Settings, click here, now. one a b c d hidden code()"
    assert doc.metadata == {"url": "https://h/reset", "tags": ["a", "b"], "day": "2026-01-02"}
    assert markdown(write(tmp_path / "a.md", "One\n===\ntwo *three*\n# Four")) == Doc("", "One", "two three Four")
    assert markdown(write(tmp_path / "a.md", "")) == Doc("", "", "")
    assert markdown(write(tmp_path / "a.md", "---\n- no\n- fields\n---\ntext\n")) == Doc("", "", "text")


def test_broken_front_matter_is_named(tmp_path):
    file = write(tmp_path / "a.md", "---\ntitle: x\nurl: [\n---\ntext\n")
    with pytest.raises(DataError, match=rf"^front matter that is no YAML: {file}:4; mend it"):
        markdown(file)


def test_the_main_text_of_a_page(tmp_path):
    long = "You can pay a bill by phone, at the bank, or at the counter of every office. " * 6
    doc = html(write(tmp_path / "a.html", PAGE % long))
    assert (doc.title, doc.text, doc.metadata) == ("Pay a bill", long.strip(), {"url": "https://help.example.org/pay"})


def test_a_piece_of_a_page_is_read_whole(tmp_path):
    assert html(write(tmp_path / "a.html", "<p>Water</p><script>x</script><p>Monday</p>")) == Doc(
        "", "", "Water Monday"
    )
    assert html(write(tmp_path / "a.html", " \n")) == Doc("", "", "")


def one_page(path, text, title="Warranty"):
    """A PDF of one page, written by hand."""
    stream = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
    parts = [
        "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>", f"<< /Title ({title}) /Author (Ann) >>",
    ]  # fmt: skip
    body, starts = "%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        starts.append(len(body))
        body += f"{number} 0 obj\n{part}\nendobj\n"
    table = "".join(f"{start:010d} 00000 n \n" for start in starts)
    trailer = f"trailer\n<< /Size 7 /Root 1 0 R /Info 6 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return write(path, f"{body}xref\n0 7\n0000000000 65535 f \n{table}{trailer}")


def test_pdf(tmp_path):
    doc = pdf(one_page(tmp_path / "a.pdf", "It lasts two years."))
    assert doc == Doc("", "Warranty", "It lasts two years.", '{"author": "Ann"}')
    for title in ("Microsoft Word - 12", "report.docx", "untitled", ""):
        assert pdf(one_page(tmp_path / "a.pdf", "x", title)).title == ""
    assert pdf(one_page(tmp_path / "a.pdf", "")).text == "", "a scan"


def test_what_is_no_pdf_is_named(tmp_path):
    with pytest.raises(DataError, match=r"^no PDF that can be read \(.*\): .*a\.pdf; open it and print"):
        pdf(write(tmp_path / "a.pdf", "no PDF"))
    with pytest.raises(DataError, match=r"^cannot read \(Is a directory\): "):
        pdf(tmp_path)
