"""The demo's picture at several moments and sizes."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.demo.scene import Reading, Scene
from tests.demo.view import NO_ANSWER, View

PORT = "ttyVirtS0"


def drawn(scene: Scene, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(View(scene, PORT), end="")
    return capture.get().splitlines()


@pytest.fixture
def scene() -> Scene:
    scene = Scene(host_port=5002, host_up=True, hub_connected=True, hub_messages=7)
    scene.reported = {
        "status": "ok",
        "portsConnected": 1,
        "portsTotal": 1,
        "serialPorts": {PORT: {"state": "connected", "connects": 1, "applicationOpen": True}},
    }
    for number in range(300):
        scene.polled(4.0 + number % 3, Reading(12, 21.5, number))
    scene.happened("Modbus client polls through it: 10 polls answered", "good")
    return scene


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 60)])
def test_fits_the_terminal(scene: Scene, width: int, height: int) -> None:
    lines = drawn(scene, width, height)
    assert len(lines) == height
    assert {cell_len(line) for line in lines} == {width}


def test_shows_the_chain_at_work(scene: Scene) -> None:
    picture = "\n".join(drawn(scene, 80, 24))
    for text in (
        "● connected",
        "● serving",
        "300 answered",
        "21.5 °C",
        "ok, 1 of 1 ports",
        "7 messages",
        "polls through",
    ):
        assert text in picture
    assert "OUTAGE" not in picture
    assert "no answer yet" not in picture


def test_marks_an_outage(scene: Scene) -> None:
    scene.host_up = False
    scene.outage_since = 0
    scene.reported["serialPorts"][PORT].update(
        state="retrying", lastError={"code": "connectionRefused", "message": "127.0.0.1:5002 refused"}
    )
    for _ in range(5):
        scene.polled(None)
    picture = "\n".join(drawn(scene, 80, 24))
    for text in (
        "OUTAGE: the host is gone",
        "● retrying",
        "● gone",
        "5 failed",
        "connectionRefused",
        5 * NO_ANSWER,
    ):
        assert text in picture


def test_is_drawn_before_anything_runs() -> None:
    picture = "\n".join(drawn(Scene(), 80, 24))
    assert "nothing yet" in picture
    assert "no answer yet" in picture
