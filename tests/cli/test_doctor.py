"""The doctor: quota, instructions, sizes, extras that are missing and how they are installed."""

from __future__ import annotations

import json

import pytest

from optical.pipeline import doctor


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_quota_of_either_version_of_cgroups(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert doctor.quota(tmp_path) == cores


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
