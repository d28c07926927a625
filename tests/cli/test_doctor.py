"""The doctor: threads, instructions, sizes, extras that are missing and how they are installed."""

from __future__ import annotations

import json

from optical.pipeline import doctor


def test_instructions_are_those_of_the_flags(tmp_path):
    (tmp_path / "cpuinfo").write_text(
        "model name\t: A chip\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nflags\t: amx_tile\n"
    )
    found = doctor._processor(tmp_path / "cpuinfo")
    assert found["name"] == "A chip"
    assert [name for name, there in found["instructions"].items() if there] == ["AVX2", "AVX-512", "VNNI"]


def test_an_extra_that_is_missing_says_which_verb_wants_it_and_how_to_install_it(command, monkeypatch, tmp_path):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "fastapi" else real(name))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors").write_bytes(b"x" * 2_500_000)
    code, out, _ = command("doctor", "--cache", tmp_path / "cache")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "fastapi" in line]
    assert line.split() == ["serve", "serve:", "fastapi>=0.115;", "pip", "install", "'optical[serve]'"]
    assert "2.5 MB" in out


def test_as_json(command):
    facts = json.loads(command("doctor", "--json")[1])
    assert {"versions", "processor", "gpu", "java", "folders", "extras"} == set(facts)
    assert "dev" not in facts["extras"]


def test_threads_and_why_there_are_so_many(command, monkeypatch):
    monkeypatch.setenv("OPTICAL_THREADS", "3")
    (line,) = [line for line in command("doctor")[1].splitlines() if line.strip().startswith("threads")]
    assert line.split() == ["threads", "3:", "OPTICAL_THREADS", "says", "so"]
