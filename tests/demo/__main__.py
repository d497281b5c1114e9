"""`python -m tests.demo`: watch a serial device through the relay, live, with an outage and a recovery.

On a terminal it runs until Ctrl-C. Without one it plays its script once, says what it does, and exits 0 only if
every step was seen to work.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import threading
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tests.demo.scene import Event, Scene
from tests.demo.script import Script
from tests.demo.stage import PORT, DemoEndedError, Stage
from tests.demo.view import TONES, View
from tests.edgehub.broker import BrokerError

OUTAGE = 6.0
"""Seconds."""

BETWEEN_OUTAGES = 45


def main() -> int:
    """Run the demo; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--once", action="store_true", help="play the script once, also on a terminal")
    arguments = parser.parse_args()
    logging.getLogger("pymodbus").addHandler(logging.NullHandler())  # what it would log is shown
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends the parts as Ctrl-C does
        signal.signal(number, signal.default_int_handler)
    scene = Scene()
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as directory:
        stage = Stage(Path(directory), scene)
        if arguments.once or not sys.stdout.isatty():
            return play_once(stage, scene)
        return play_live(stage, scene)


def play_once(stage: Stage, scene: Scene) -> int:
    """Play every step once and sum up."""
    console = Console(highlight=False, soft_wrap=True)

    def announce(event: Event) -> None:
        mark, style = TONES[event.tone]
        console.print(f"[dim]{event.at:5.1f} s[/]  [{style}]{mark}[/]  {escape(event.text)}")

    console.print(
        "EFLOW Serial Relay: a Modbus client polls a device through virtual port, module, TCP and host.\n"
    )
    script = Script(stage, scene, announce)
    try:
        script.start()
        script.show_configuration()
        script.show_outage(OUTAGE)
        script.show_hub_outage()
        script.stop()
    except (AssertionError, BrokerError, DemoEndedError):
        pass  # the step said what failed
    finally:
        stage.close()
    console.print(summary(script, scene))
    return 0 if script.worked else 1


def play_live(stage: Stage, scene: Scene) -> int:
    """Draw the scene until Ctrl-C, an outage every now and then."""
    console = Console()
    script = Script(stage, scene)
    failures: list[BaseException] = []

    def play() -> None:
        try:
            script.start()
            count_down(stage, scene, 8, "an outage")
            script.show_outage(OUTAGE)
            count_down(stage, scene, 6, "a change of the twin")
            script.show_configuration()
            count_down(stage, scene, 6, "an outage of edgeHub")
            script.show_hub_outage()
            while True:
                count_down(stage, scene, BETWEEN_OUTAGES, "another outage")
                script.show_outage(OUTAGE)
        except DemoEndedError:
            return
        except BaseException as error:  # noqa: BLE001 - shown after the live view
            failures.append(error)
            stage.wait_until_ended()

    player = threading.Thread(target=play, daemon=True)
    try:
        with Live(View(scene, PORT), console=console, screen=True, refresh_per_second=8):
            player.start()
            player.join()
    except KeyboardInterrupt:
        pass
    finally:
        stage.close()
        player.join()
    console.print(summary(script, scene))
    for failure in failures:
        console.print(f"{type(failure).__name__}: {failure}", markup=False)
    return 1 if failures else 0


def count_down(stage: Stage, scene: Scene, seconds: int, to: str) -> None:
    """Wait so that the reader can watch, and show what comes next."""
    for left in range(seconds, 0, -1):
        scene.next_step = f"{to} in {left} s"
        stage.sleep(1)
    scene.next_step = ""


def summary(script: Script, scene: Scene) -> Table:
    """What was done and how it went."""
    table = Table(title="Summary", title_justify="left", title_style="bold", show_header=False)
    for result in script.results:
        mark, style = TONES["good" if result.worked else "bad"]
        table.add_row(f"[{style}]{mark}[/]", result.title, f"{result.seconds:.1f} s")
    table.add_section()
    table.add_row("", f"{scene.answered} polls answered, {scene.unanswered} failed during outages", "")
    return table


if __name__ == "__main__":
    sys.exit(main())
