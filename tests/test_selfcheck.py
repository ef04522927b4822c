"""The installed jaxlib computes right, and a wrong one is refused."""

import pytest

from phdenoise import selfcheck
from phdenoise.types import InputError


def test_thirty_two_cases_are_right():
    assert len(selfcheck.cases()) == 32
    assert selfcheck.wrong_cases() == []


def test_wrong_cases_are_sentences(monkeypatch):
    monkeypatch.setattr(
        selfcheck,
        "_run",
        lambda n, name, _: selfcheck.Case(f"{name}, {n}", 4096.0 if n == 64 else 7.0, 7.0),
    )
    wrong = selfcheck.wrong_cases()
    assert len(wrong) == 8
    assert "sum, 64 of ones gave 4096 instead of 7" in wrong


@pytest.mark.parametrize("got", [float("nan"), float("inf"), -3.5e26, 4095.96, 0.0])
def test_garbage_is_recognised(got):
    assert not selfcheck.Case("sum", got, 262144.0).right


def test_no_work_inside_the_pin(monkeypatch):
    monkeypatch.setattr(selfcheck, "_version", lambda name: "0.10.1")
    monkeypatch.setattr(selfcheck, "_run", lambda *_: pytest.fail("ran inside the pin"))
    selfcheck.check()


@pytest.mark.parametrize("release", ["0.10.2", "0.9.2", "0.12.0.1", "0.10.2.dev3"])
def test_wrong_numbers_outside_the_pin_are_refused(monkeypatch, release):
    monkeypatch.setattr(selfcheck, "_version", lambda name: release)
    monkeypatch.setattr(selfcheck, "_run", lambda *_: selfcheck.Case("sum", 4096.0, 262144.0))
    with pytest.raises(InputError, match="XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= "):
        selfcheck.check()


def test_forced_check_passes_here():
    selfcheck.check(force=True)


def test_versions_name_what_a_bug_report_needs():
    found = selfcheck.versions()
    assert {"python", "phdenoise", "jax", "jaxlib", "flax", "h5py", "devices"} <= set(found)
    assert int(found["cpu_count"]) >= 1
    assert all(isinstance(value, str) for value in found.values())
    assert "not installed" not in found.values()
