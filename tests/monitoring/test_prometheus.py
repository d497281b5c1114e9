"""The alert rules and the dashboard of examples/monitoring, before Debian's Prometheus that scrapes a running module."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import ROOT, Program, free_port, wait_for
from tests.system.stack import Relay
from tests.system.tcp_servers import Listener

pytestmark = pytest.mark.monitoring

EXAMPLES = ROOT / "examples/monitoring"
DASHBOARD: dict[str, Any] = json.loads((EXAMPLES / "dashboard.json").read_text(encoding="utf-8"))
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
ONLY_WITH_RFC2217 = {"Round trip to the host", "Modem lines"}
"""Panels that stay empty with a raw port, as here."""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=EXAMPLES, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_rules_are_valid() -> None:
    checked = promtool("check", "rules", "alerts.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_alert_fires_for_its_trouble_and_for_no_other() -> None:
    names = set(re.findall(r"alert: (\w+)", (EXAMPLES / "alerts.yml").read_text(encoding="utf-8")))
    tried = set(re.findall(r"alertname: (\w+)", (EXAMPLES / "alerts.test.yml").read_text(encoding="utf-8")))
    assert names == tried
    tested = promtool("test", "rules", "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


class Prometheus:
    """A server that scrapes one module each second."""

    def __init__(self, directory: Path, module: int) -> None:
        configuration = directory / "prometheus.yml"
        configuration.write_text(
            f"""global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{json.dumps(str(EXAMPLES / "alerts.yml"))}]
scrape_configs:
  - job_name: serial-relay
    static_configs: [{{targets: ["127.0.0.1:{module}"]}}]
"""
        )
        self._port = free_port()
        self.program = Program(
            [
                *(
                    "prometheus",
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={directory / 'data'}",
                ),
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            directory / "prometheus.log",
        )

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            document = json.load(answer)
        assert document["status"] == "success"
        return document["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def answers(self) -> bool:
        try:
            return bool(self.query("serial_relay_port_connected"))
        except OSError:
            return False


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("monitoring")
    listener = Listener()
    relay = Relay(directory, {"up": {"tcpPort": listener.port}, "down": {"tcpPort": free_port()}})
    relay.start()
    try:
        connection = listener.accept()
        relay.wait_for_status("up", state="connected")
        application = os.open(relay.link("up"), os.O_RDWR | os.O_NOCTTY)
        connection.sendall(b"from the device")
        server = Prometheus(directory, relay.metrics_port)
        try:
            wait_for(server.answers, "Prometheus to have scraped the module", 60)
            yield server
        finally:
            server.program.stop()
            os.close(application)
            listener.go_away()
    finally:
        relay.close()


def test_prometheus_takes_the_rules(prometheus: Prometheus) -> None:
    groups = prometheus.ask("rules")["groups"]
    [rules] = [group["rules"] for group in groups]
    assert {rule["name"] for rule in rules} >= {"SerialPortDown", "SerialRelayGone"}
    wait_for(
        lambda: all(
            rule["health"] == "ok" for group in prometheus.ask("rules")["groups"] for rule in group["rules"]
        ),
        "each rule to be evaluated",
    )


def test_a_port_without_its_device_is_about_to_fire(prometheus: Prometheus) -> None:
    def pending() -> list[str]:
        alerts = prometheus.ask("alerts")["alerts"]
        return [
            alert["labels"]["port"] for alert in alerts if alert["labels"]["alertname"] == "SerialPortDown"
        ]

    wait_for(lambda: pending() == ["down"], "the alert of the port without a connection")


@pytest.mark.parametrize(("title", "expression"), QUERIES, ids=[title for title, _ in QUERIES])
def test_each_panel_of_the_dashboard_shows_something(
    prometheus: Prometheus, title: str, expression: str
) -> None:
    for name, value in (("$instance", ".*"), ("$port", ".*"), ("$__rate_interval", "1m")):
        expression = expression.replace(name, value)
    if title in ONLY_WITH_RFC2217:
        prometheus.query(expression)
        return
    wait_for(lambda: prometheus.query(expression), f"the panel {title!r} to have data")
