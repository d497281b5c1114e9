"""What Windows answers, as its documentation and its installations write it."""

from __future__ import annotations

import pytest

from serial_host.diagnosis import computer
from serial_host.diagnosis.windows_answers import (
    Admission,
    PortRange,
    admission,
    port_ranges,
    selective_suspend,
    task_state,
)
from serial_monitor.steps import Steps, Verdict

PROGRAM = r"C:\Program Files\SerialHost\1.1.0\runtime\python.exe"
OURS = (
    r"v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=5002|LPort=5003|RA4=LocalSubnet|RA6=LocalSubnet"
    rf"|App={PROGRAM}|Name=Serial ports over TCP (serial_host)|EmbedCtxt=SerialHost|"
)
RANGES = """
Protokoll tcp Portausschlussbereiche

Startport    Endport
----------    --------
      5002        5002     *
      5357        5357
     49690       49789

* - Administratorportausschlüsse.
"""
POWER = """
Subgroup GUID: 2a737441-1930-4402-8d77-b2bebba308a3  (USB settings)
  Power Setting GUID: 48e6b7a6-50f5-4782-a5d4-53bb8f07e226  (USB selective suspend setting)
    Possible Setting Index: 000
    Possible Setting Index: 001
  Current AC Power Setting Index: 0x0000000{mains}
  Current DC Power Setting Index: 0x00000001
"""


def verdicts(steps: Steps) -> list[Verdict]:
    return [step.verdict for step in steps.taken]


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        (OURS, Admission.ADMITTED),
        (OURS.replace("Active=TRUE", "Active=FALSE"), Admission.NOT_MENTIONED),
        (OURS.replace("Dir=In", "Dir=Out"), Admission.NOT_MENTIONED),
        (OURS.replace("Protocol=6", "Protocol=17"), Admission.NOT_MENTIONED),
        (OURS.replace("LPort=5002", "LPort=5001"), Admission.NOT_MENTIONED),
        (OURS.replace("LPort=5002|LPort=5003", "LPort2_10=5000-5010"), Admission.ADMITTED),
        (OURS.replace("LPort=5002|LPort=5003", "LPort=RPC"), Admission.NOT_MENTIONED),
        (OURS.replace("1.1.0", "1.0.0"), Admission.NOT_MENTIONED),
        (OURS.upper().replace(PROGRAM.upper(), PROGRAM.lower()), Admission.NOT_MENTIONED),
        ("v2.30|Action=Allow|Active=TRUE|Dir=In|Name=everything|", Admission.ADMITTED),
        (OURS.replace("Action=Allow", "Action=Block"), Admission.BLOCKED),
        ("nonsense", Admission.NOT_MENTIONED),
        ("", Admission.NOT_MENTIONED),
    ],
)
def test_a_firewall_rule_concerns_a_program_and_its_ports(rule: str, answer: Admission) -> None:
    assert admission([rule], PROGRAM, 5002)[0] is answer


def test_a_rule_that_blocks_goes_before_one_that_admits() -> None:
    blocks = OURS.replace("Action=Allow", "Action=Block").replace("Serial ports over TCP", "blocked")
    assert admission([OURS, blocks], PROGRAM, 5002) == (Admission.BLOCKED, "blocked (serial_host)")
    assert admission([blocks, OURS], PROGRAM, 5002)[0] is Admission.BLOCKED


def test_reserved_ports_are_read_in_any_language() -> None:
    assert port_ranges(RANGES) == [
        PortRange(5002, 5002, administered=True),
        PortRange(5357, 5357, administered=False),
        PortRange(49690, 49789, administered=False),
    ]
    assert port_ranges("nothing of that kind") == []


@pytest.mark.parametrize(
    ("port", "verdict"), [(5002, Verdict.OK), (49700, Verdict.FAILED), (5003, Verdict.WARNING)]
)
def test_a_port_that_windows_has_taken_fails(port: int, verdict: Verdict) -> None:
    steps = Steps()
    computer.tell_reservation(steps, port_ranges(RANGES), port)
    assert verdicts(steps) == [verdict]


@pytest.mark.parametrize(("mains", "verdict"), [(0, Verdict.OK), (1, Verdict.WARNING)])
def test_power_saving_counts_on_mains_power(mains: int, verdict: Verdict) -> None:
    steps = Steps()
    computer.tell_power_saving(steps, selective_suspend(POWER.format(mains=mains)))
    assert verdicts(steps) == [verdict]


def test_a_power_plan_without_the_setting_says_nothing() -> None:
    steps = Steps()
    computer.tell_power_saving(steps, selective_suspend("Ungültige Parameter"))
    assert verdicts(steps) == [Verdict.SKIPPED]


@pytest.mark.parametrize(
    ("answer", "state", "verdict"),
    [
        ("4\r\n", 4, Verdict.OK),
        ("3\r\n", 3, Verdict.FAILED),
        ("1\r\n", 1, Verdict.FAILED),
        ("", None, Verdict.SKIPPED),
        ("Get-ScheduledTask: error 4", None, Verdict.SKIPPED),
    ],
)
def test_the_task_runs_or_not(answer: str, state: int | None, verdict: Verdict) -> None:
    assert task_state(answer) == state
    steps = Steps()
    computer.tell_task(steps, answer)
    assert verdicts(steps) == [verdict]


@pytest.mark.parametrize(
    ("rules", "verdict", "words"),
    [
        ([OURS], Verdict.OK, "the rule 'Serial ports over TCP (serial_host)' admits"),
        ([], Verdict.FAILED, "no rule admits clients to TCP port 5002"),
        ([OURS.replace("Action=Allow", "Action=Block")], Verdict.FAILED, "keeps clients away"),
    ],
)
def test_the_firewall_is_told_with_what_to_do(rules: list[str], verdict: Verdict, words: str) -> None:
    steps = Steps()
    computer.tell_firewall(steps, rules, PROGRAM, 5002)
    [step] = steps.taken
    assert step.verdict is verdict
    assert words in step.found
    assert bool(step.next) is (verdict is not Verdict.OK)
