"""Documents that are a file each: plain text, Markdown, HTML, PDF, read by well-kept packages (the extra ``docs``)."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optical.data.document_fields import doc_of
from optical.data.document_tables import needed
from optical.data.lines import lines
from optical.data.records import Doc
from optical.errors import DataError
from optical.limits import LONGEST, check_depth, opened, read_whole

_FRONT = re.compile(r"\A---\n(.*?)^(?:---|\.\.\.)\n", re.DOTALL | re.MULTILINE)
LONGEST_TITLE = 1_000  # characters of a PDF's own
LONGEST_FRONT, MOST_BRACKETS = 100_000, 1_000  # characters of front matter, and those that open lists and mappings
MOST_ATTRIBUTES = 5_000  # of a tag: the parser compares each with all others
_MANY_ATTRIBUTES = re.compile(
    rb"<[A-Za-z][^\s>/]*+(?:[\s/]++[^\s=>/][^\s=>/]*+(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s>]*+))?+){%d}"
    % MOST_ATTRIBUTES
)
_TAG = re.compile(r"<[^<>]*>")
_NOISE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufffd]")
_NO_TITLE = re.compile(r"\s*(?:untitled.*|microsoft word.*|.*\.\w{2,5})?\s*", re.IGNORECASE)  # what programs write


def plain_text(file: Path) -> Doc:
    """A file of plain text."""
    return _doc({"text": _text(file)})


def _text(file: Path) -> str:
    size = 0
    kept = []
    for number, text in lines(file):
        size += len(text) + 1
        if size > LONGEST:
            raise DataError(f"more than {LONGEST // 2**20} MiB, which are one document: {file}:{number}; split it")
        kept.append(text)
    return "\n".join(kept)


def markdown(file: Path) -> Doc:
    """A file of Markdown without its marks; its title and other fields are those of its front matter (YAML).

    Without a title there, the title is the first heading.
    """
    parser = needed("markdown_it", file).MarkdownIt().enable("table")
    text = _text(file) + "\n"
    front = _FRONT.match(text)
    fields = _front_matter(front[1], file) if front else {}
    try:
        tokens = parser.parse(text[front.end() :] if front else text)
    except RecursionError:
        raise DataError(f"Markdown nested too deep: {file}; mend it, or call it .txt") from None
    kept = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        said = _spoken(token)
        if not fields.get("title") and before is not None and before.type == "heading_open" and before.tag == "h1":
            fields["title"] = said
        else:
            kept.append(said)
    return _doc(fields | {"text": "\n".join(filter(None, kept))})


def html(file: Path) -> Doc:
    """The main text of a page, without menus and footers; its title, address, author and date."""
    trafilatura = needed("trafilatura", file)
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    data = read_whole(file)
    _check_page(data, file)
    try:
        found = trafilatura.bare_extraction(data, with_metadata=True) if data.strip() else None
    except Exception as error:
        raise DataError(
            f"no HTML ({type(error).__name__}): {file}; mend it, or take it out of the documents"
        ) from error
    text = _all_text(data, file) if found is None else found.text
    if b"\0" in data and _NOISE.search(text or ""):
        raise DataError(f"a byte 0, which no text has: {file}; is it a binary file?")
    if found is None:
        return _doc({"text": text})
    fields = {name: getattr(found, name) for name in ("title", "url", "author", "date", "description")}
    return _doc(fields | {"text": text})


def _check_page(data: bytes, file: Path) -> None:
    """Refuse a page that the parser reads by half, or for minutes."""
    etree = needed("lxml.etree", file)
    parser = etree.HTMLParser()
    fault = f"a tag of {MOST_ATTRIBUTES:,} attributes and more" if _MANY_ATTRIBUTES.search(data) else ""
    if not fault and data.strip():
        with contextlib.suppress(Exception):  # what else is wrong is said by who reads it
            etree.fromstring(data, parser)
        fault = next((one.message for one in parser.error_log if "depth" in one.message.lower()), "")
    if fault:
        raise DataError(f"no HTML ({fault[:100]}): {file}; mend it, or take it out of the documents")


def pdf(file: Path) -> Doc:
    """The text of a PDF, page after page; one that was scanned without reading has none."""
    pypdf = needed("pypdf", file)
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        with opened(file) as stream:
            reader = pypdf.PdfReader(stream)
            text = "\n".join(page.extract_text() for page in reader.pages)
            known = reader.metadata
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"no PDF that can be read ({type(error).__name__}: {str(error)[:100]}): {file}; open it and print it to a"
            " new PDF (without a password), or take it out of the documents"
        ) from error
    title = str(known.title or "")[:LONGEST_TITLE] if known else ""
    author = str(known.author or "") if known else ""
    return _doc({"title": "" if _NO_TITLE.fullmatch(title) else title, "author": author, "text": text})


READERS: dict[str, Callable[[Path], Doc]] = {
    ".txt": plain_text, ".md": markdown, ".markdown": markdown, ".html": html, ".htm": html, ".pdf": pdf,
}  # fmt: skip
SLOW = (".html", ".htm", ".pdf")  # whose text is worth keeping


def _doc(fields: Mapping[str, Any]) -> Doc:
    """A document whose text does not begin with its title once more, and that has no id yet."""
    doc = doc_of({name: value for name, value in fields.items() if name not in ("id", "_id", "docid")})
    assert doc is not None, "there is a text"
    return doc._replace(text=doc.text.removeprefix(f"{doc.title} ") if doc.title else doc.text)


def _front_matter(text: str, file: Path) -> dict[str, Any]:
    yaml = needed("yaml", file)
    try:
        if len(text) > LONGEST_FRONT or text.count("[") + text.count("{") > MOST_BRACKETS:
            raise ValueError("too much")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):  # a few lines of them make gigabytes
            raise ValueError("an alias")
        fields = yaml.safe_load(text)
        check_depth(fields)
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 2  # from 0, and below the dashes
        raise DataError(
            f"front matter that is no YAML: {file}:{line}; mend it, or remove it with its dashes; aliases, and more "
            f"than {LONGEST_FRONT:,} characters, are not read"
        ) from error
    return {str(name): value for name, value in fields.items()} if isinstance(fields, dict) else {}


def _spoken(token: Any) -> str:
    """The words of a part of Markdown, without its marks."""
    if token.type in ("fence", "code_block"):
        return token.content
    if token.type == "html_block":
        return _TAG.sub(" ", token.content)
    children = token.children or []
    breaks = ("softbreak", "hardbreak")
    return "".join(" " if c.type in breaks else c.content for c in children if c.type != "html_inline")


def _all_text(data: bytes, file: Path) -> str:
    """Every text of a page in which no main text was found."""
    if not data.strip():
        return ""
    parser = needed("lxml.html", file)
    try:
        root = parser.fromstring(data)
    except Exception as error:
        raise DataError(f"no HTML ({str(error)[:100]}): {file}; mend it, or take it out of the documents") from error
    return " ".join(root.xpath("//text()[not(ancestor::script or ancestor::style)]"))
