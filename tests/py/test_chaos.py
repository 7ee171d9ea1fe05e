"""A short run of the chaos demonstration."""

from __future__ import annotations

from pathlib import Path

from chaos import Answer, Phase, chaos, faults


def test_clients_notice_nothing(tmp_path: Path) -> None:
    phases = chaos(0.8, tmp_path)
    assert [phase.name for phase in phases] == [
        "nothing",
        "kill",
        "restart",
        "freeze",
        "fail",
        "remove",
        "add",
    ]
    assert faults(phases, slack_s=3) == []  # less than the whole limit of a request
    for phase in phases:
        assert len(phase.answers) > 50, phase.name
    assert phases[1].retries > 0
    assert phases[3].retries > 0


def test_a_fault_is_seen() -> None:
    assert faults([Phase("kill", [Answer(0, 0.001, 200), Answer(0, 0.001, 503)])]) == [
        "kill: 1 requests failed ([503])"
    ]
    assert faults([Phase("freeze", [Answer(0, 5, 200)])])
    assert not faults([Phase("kill", [Answer(0, 5, 200)])])
