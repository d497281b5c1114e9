"""The scheduled task: what Task Scheduler is given, field by field, and that it means what is intended."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from bundle.contents import FOR_THE_ADMINISTRATOR
from tests.windows.powershell import Script

NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
HELPER = FOR_THE_ADMINISTRATOR / "scheduled-task-helper.ps1"

SCHEMA = {
    "Task": "RegistrationInfo Triggers Settings Data Principals Actions",
    "RegistrationInfo": "URI SecurityDescriptor Source Date Author Version Description Documentation",
    "Triggers": "BootTrigger RegistrationTrigger IdleTrigger TimeTrigger EventTrigger LogonTrigger"
    " SessionStateChangeTrigger CalendarTrigger",
    "BootTrigger": "Enabled StartBoundary EndBoundary Repetition ExecutionTimeLimit Delay",
    "RegistrationTrigger": "Enabled StartBoundary EndBoundary Repetition ExecutionTimeLimit Delay",
    "Repetition": "Interval Duration StopAtDurationEnd",
    "Principals": "Principal",
    "Principal": "UserId LogonType GroupId DisplayName RunLevel ProcessTokenSidType RequiredPrivileges",
    "Settings": "AllowStartOnDemand RestartOnFailure MultipleInstancesPolicy DisallowStartIfOnBatteries"
    " StopIfGoingOnBatteries AllowHardTerminate StartWhenAvailable NetworkProfileName RunOnlyIfNetworkAvailable"
    " WakeToRun Enabled Hidden DeleteExpiredTaskAfter IdleSettings NetworkSettings ExecutionTimeLimit Priority"
    " RunOnlyIfIdle UseUnifiedSchedulingEngine DisallowStartOnRemoteAppSession",
    "Actions": "Exec ComHandler SendEmail ShowMessage",
    "Exec": "Command Arguments WorkingDirectory",
}
"""Element -> what it may hold, by [MS-TSCH] 2.5."""


def template() -> str:
    [text] = Script.read(HELPER).nodes("verbatim_here_string_characters")
    assert text.text is not None
    return text.text.decode().removeprefix("@'\n").removesuffix("\n'@")


def task(*values: str) -> ET.Element:
    """Fill the template as PowerShell's -f does."""
    return ET.fromstring(template().format(*values))  # noqa: S314 -- our own text


@pytest.fixture
def definition() -> ET.Element:
    return task("Serves ports.", "S-1-5-19", r"C:\p\python.exe", r"\\.\COM3 5002", r"C:\p")


def text(definition: ET.Element, path: str) -> str | None:
    return definition.findtext("/".join(NAMESPACE + part for part in path.split("/")))


def test_every_element_is_one_that_task_scheduler_knows(definition: ET.Element) -> None:
    assert definition.tag == f"{NAMESPACE}Task"
    for element in definition.iter():
        names = [child.tag.removeprefix(NAMESPACE) for child in element]
        known = SCHEMA.get(element.tag.removeprefix(NAMESPACE), "").split()
        assert set(names) <= set(known), element.tag
        assert len(names) == len(set(names)), f"{element.tag} holds something twice"


@pytest.mark.parametrize("trigger", ["BootTrigger", "RegistrationTrigger"])
def test_it_starts_at_once_at_boot_and_again_within_a_minute_for_ever(
    definition: ET.Element, trigger: str
) -> None:
    assert text(definition, f"Triggers/{trigger}/Repetition/Interval") == "PT1M"
    # No end: neither a duration of the repetition nor a limit of the trigger.
    [found] = definition.iter(NAMESPACE + trigger)
    assert [element.tag.removeprefix(NAMESPACE) for element in found.iter()] == [
        trigger,
        "Repetition",
        "Interval",
    ]


def test_no_other_trigger(definition: ET.Element) -> None:
    [triggers] = definition.iter(f"{NAMESPACE}Triggers")
    assert [child.tag.removeprefix(NAMESPACE) for child in triggers] == ["BootTrigger", "RegistrationTrigger"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MultipleInstancesPolicy", "IgnoreNew"),
        ("ExecutionTimeLimit", "PT0S"),  # none; the default is PT72H
        ("DisallowStartIfOnBatteries", "false"),
        ("StopIfGoingOnBatteries", "false"),
        ("StartWhenAvailable", "true"),
        ("RunOnlyIfIdle", "false"),
        ("RunOnlyIfNetworkAvailable", "false"),
        ("Priority", "4"),  # normal; the default is 7
    ],
)
def test_settings(definition: ET.Element, setting: str, value: str) -> None:
    assert text(definition, f"Settings/{setting}") == value


def test_settings_left_to_their_defaults_are_good_ones(definition: ET.Element) -> None:
    """By [MS-TSCH] 2.5.4: Enabled, AllowStartOnDemand and AllowHardTerminate are true, Hidden is false."""
    [settings] = definition.iter(f"{NAMESPACE}Settings")
    assert len(settings) == 8


def test_the_account_has_no_more_rights_than_it_needs(definition: ET.Element) -> None:
    assert text(definition, "Principals/Principal/UserId") == "S-1-5-19"
    assert text(definition, "Principals/Principal/RunLevel") == "LeastPrivilege"
    [principal] = definition.iter(f"{NAMESPACE}Principal")
    [actions] = definition.iter(f"{NAMESPACE}Actions")
    assert principal.get("id") == actions.get("Context")

    source = HELPER.read_text()
    assert "[string] $Account = 'LocalService'" in source
    sids = dict(re.findall(r"(\w+) = '(S-1-5-\d+)'", source))
    assert sids == {"LocalService": "S-1-5-19", "NetworkService": "S-1-5-20", "System": "S-1-5-18"}


def test_what_runs_is_what_was_given(definition: ET.Element) -> None:
    assert text(definition, "Actions/Exec/Command") == r"C:\p\python.exe"
    assert text(definition, "Actions/Exec/Arguments") == r"\\.\COM3 5002"
    assert text(definition, "Actions/Exec/WorkingDirectory") == r"C:\p"
    assert text(definition, "RegistrationInfo/Description") == "Serves ports."


def test_the_template_is_filled_completely_and_nothing_gets_out_of_its_field() -> None:
    assert sorted(re.findall(r"\{(\d)\}", template())) == list("01234")
    source = HELPER.read_text()
    order = re.search(
        r"foreach \(\$value in (.+)\) \{\s+\[System.Security.SecurityElement\]::Escape\(\$value\)", source
    )
    assert order
    assert order[1] == "$Description, $sids[$Account], $Execute, $Argument, $folder"
    assert "(Get-StartupTaskTemplate) -f $values" in source


def test_it_can_run_com2tcp_as_the_sample_does() -> None:
    example = r"Add-StartupScheduledTask -TaskName com2tcp -Execute C:\hub4com\com2tcp.bat -Argument '\\.\COM3 5002'"
    assert example in HELPER.read_text()
    [add] = [
        names for function, names in Script.read(HELPER).functions().items() if function.startswith("Add")
    ]
    assert add[:3] == ["TaskName", "Execute", "Argument"]
    [remove] = [
        names for function, names in Script.read(HELPER).functions().items() if function.startswith("Remove")
    ]
    assert remove == ["TaskName"]


def test_loading_the_helper_changes_nothing_in_the_session() -> None:
    """It is dot-sourced: what it sets outside its functions would stay with the user."""
    [statements] = [node for node in Script.read(HELPER).root.children if node.type == "statement_list"]
    assert {node.type for node in statements.children if node.type != "comment"} == {"function_statement"}
