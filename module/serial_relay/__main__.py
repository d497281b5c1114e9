"""The command line: `python -m serial_relay` in an IoT Edge module, with `--desired FILE` anywhere else."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import uvloop

from serial_relay import __version__
from serial_relay.command_line import parser as local_commands
from serial_relay.control.server import ControlServer
from serial_relay.plumbing import log as log_format
from serial_relay.plumbing.descriptors import allow_many_descriptors
from serial_relay.plumbing.inotify import Inotify
from serial_relay.process import health, metrics
from serial_relay.process.monitoring import Monitoring
from serial_relay.process.service import Service
from serial_relay.process.settings import Settings, SettingsError, read_settings
from serial_relay.twin.plug_and_play import MODEL_ID
from serial_relay.twin.twin import Twin
from serial_relay.virtual_port.device_server import DeviceServer
from serial_relay.virtual_port.links import LinkDirectory, LinkError

log = logging.getLogger(__name__)

_EXIT_USAGE = 2

_DESCRIPTION = """\
Virtual serial ports, relayed over TCP to the host that owns the devices.

As an IoT Edge module it takes its ports from the module twin. With --desired it takes the same desired properties
from a file, follows its changes, and needs no IoT Edge:

  {"host": "172.18.246.137", "serialPorts": {"ttyVirtS0": {"tcpPort": 5002}}}
"""

_ENVIRONMENT = """\
environment:
  LINK_DIR         where the links are made (/dev)
  SERIAL_GID       group of the virtual ports by default, a number (10)
  STATE_DIR        where the last good configuration and the key for TLS are kept (nowhere)
  RuntimeLogLevel  fatal, error, warning, info or debug (info)
  ALLOWED_METHODS  direct methods that the cloud may call, with commas between (all)
  METRICS_ADDRESS, METRICS_PORT  where Prometheus metrics are served (127.0.0.1, 9600; port 0: nowhere)
  HEALTH_SOCKET    Unix socket that `python -m serial_relay.process.health` asks (none)
  PLUG_AND_PLAY    true: announce the DTDL model and report as IoT Plug and Play wants it (false; not with --desired)
"""


def main() -> int:
    """Run a command; without one, run the module until SIGTERM or SIGINT.

    The exit status of the module is 0 at the end, 1 when it cannot start, and 2 for wrong settings.
    """
    parser = argparse.ArgumentParser(
        prog="serial-relay",
        description=_DESCRIPTION,
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--desired", type=Path, metavar="FILE", help="desired properties, a JSON file")
    parser.add_argument(
        "--reported", type=Path, metavar="FILE", help="write the reported properties there (with --desired)"
    )
    parser.add_argument("--version", action="version", version=f"serial_relay {__version__}")
    local_commands.add_commands(parser)
    arguments = parser.parse_args()
    if arguments.command is not None:
        return local_commands.run(arguments)
    if arguments.reported and not arguments.desired:
        parser.error("--reported goes with --desired")
    if arguments.reported and arguments.reported.resolve() == arguments.desired.resolve():
        parser.error("--desired and --reported name the same file; each needs its own")
    if not arguments.desired and "IOTEDGE_WORKLOADURI" not in os.environ:
        parser.error("this is not an IoT Edge module (no IOTEDGE_WORKLOADURI): --desired FILE is needed")
    if not arguments.desired and not _has_azure_sdk():
        parser.error(
            "the Azure SDK is not installed: install eflow-serial-relay[edge], or name a file with --desired"
        )
    try:
        settings = read_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return _EXIT_USAGE
    if arguments.desired:
        settings = settings.model_copy(update={"plug_and_play": False})
    log_format.configure(settings.log_level)
    log.info("serial_relay %s starts, links in %s", __version__, settings.link_dir)
    allow_many_descriptors()
    try:
        uvloop.run(_serve(settings, arguments.desired, arguments.reported))
    except LinkError as error:
        log.critical("%s", error)
        return 1
    log.info("stopped")
    return 0


async def _serve(settings: Settings, desired: Path | None, reported: Path | None) -> None:
    loop = asyncio.get_running_loop()
    with ExitStack() as cleanup:
        watches = Inotify(loop)
        cleanup.callback(watches.close)
        links = LinkDirectory(settings.link_dir)
        cleanup.callback(links.close)
        link_watches = Inotify(
            loop
        )  # of its own: another file of the same directory may be watched by the file twin
        cleanup.callback(link_watches.close)
        links.watch(link_watches)
        twin = _twin(watches, settings, desired, reported)
        service = Service(twin, settings, links, watches, DeviceServer())
        if settings.metrics_port:
            cleanup.callback(
                metrics.serve(
                    settings.metrics_address,
                    settings.metrics_port,
                    service.supervisor.statuses,
                    lambda: twin.hub_connected,
                    version=__version__,
                )
            )
        if settings.health_socket is not None:
            cleanup.callback(await health.serve(settings.health_socket, service.is_configured))
        control = ControlServer(service.command_received, {"monitor": Monitoring(service.supervisor).watch})
        cleanup.callback(control.close)
        await control.start()
        running = loop.create_task(service.run())

        def stop() -> None:
            """End the service once: a further signal would interrupt the end, and leave ports without what they need."""
            if not running.cancelling():
                running.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()


def _has_azure_sdk() -> bool:
    try:
        return importlib.util.find_spec("azure.iot.device") is not None
    except ModuleNotFoundError:
        return False


def _twin(watches: Inotify, settings: Settings, desired: Path | None, reported: Path | None) -> Twin:
    """Return the twin, and import only what it needs.

    Without IoT Edge, its SDK need not be installed and takes no memory.
    """
    if desired is None:
        from serial_relay.twin.edge import EdgeTwin  # noqa: PLC0415

        return EdgeTwin(model_id=MODEL_ID if settings.plug_and_play else None)
    from serial_relay.twin.file_twin import FileTwin  # noqa: PLC0415

    return FileTwin(desired, reported, watches)


if __name__ == "__main__":
    sys.exit(main())
