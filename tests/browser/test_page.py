"""The page of `monitor --web` in a real Chromium: what it shows, its keys, dark and light, and who may see it."""

from __future__ import annotations

import http.client
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.browser.chromium import Chromium
from tests.browser.scene import Scene
from tests.system.processes import wait_for

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Scene(tmp_path_factory.mktemp("scene")) as scene:
        wait_for(lambda: scene.polls > 2, "the meter to be polled")
        yield scene


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(scene: Scene) -> str:
    return scene.page("serial_relay")[1]


@pytest.fixture
def page(browser: Chromium, address: str) -> Chromium:
    """The page, freshly opened, with traffic on it."""
    browser.colour_scheme("light")
    browser.open(address)
    browser.wait("document.querySelectorAll('#ports [data-port]').length === 3")
    browser.wait("document.querySelector('#log .frame') !== null")
    return browser


def text(page: Chromium, selector: str) -> str:
    return str(page.evaluate(f"document.querySelector({selector!r}).innerText"))


def rows_shown(page: Chromium) -> set[str]:
    """The ports of the traffic that can be seen."""
    found = page.evaluate(
        "[...document.querySelectorAll('#log div:not([hidden])')].map(row => row.dataset.port)"
    )
    return set(found)


def test_it_shows_the_ports_and_their_traffic_as_it_passes(page: Chromium) -> None:
    table = text(page, "#ports")
    assert re.search(r"ttyMeter\s+connected\s+9600 8N1", table)
    assert "refused the connection" in table
    page.wait("/\\d B\\/s/.test(document.querySelector('[data-port=ttyMeter]').innerText)")
    page.wait("document.querySelector('#log').innerText.includes('answer after')")
    traffic = text(page, "#log")
    assert "Modbus address 1, read holding registers 0 to 2, CRC good" in traffic
    assert "= 230 49 1013, CRC good" in traffic
    before = page.evaluate("document.querySelector('#log').childElementCount")
    page.wait(f"document.querySelector('#log').childElementCount > {before}")
    assert text(page, "#link") == "live"


def test_nothing_is_loaded_from_elsewhere_and_nothing_goes_wrong(page: Chromium, address: str) -> None:
    assert page.requested
    assert {
        f"{urlsplit(one).scheme}://{urlsplit(one).netloc}"
        for one in page.requested
        if not one.startswith("data:")
    } == {address.rsplit("/", 2)[0]}
    assert page.complaints == []


def test_it_is_dark_or_light_as_the_computer_is_and_as_the_person_wishes(page: Chromium) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    page.colour_scheme("dark")
    page.wait("document.documentElement.dataset.theme === 'dark'")
    dark = background()
    assert light != dark
    page.press("t")
    page.wait("document.documentElement.dataset.theme === 'light'")
    assert background() == light


def contrast(page: Chromium, selector: str) -> float:
    """The contrast of a text with what is behind it (WCAG 2.2, 1.4.3)."""
    return float(
        page.evaluate(
            """(() => {
                const luminance = (colour) => { const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => {
                    value /= 255; return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; });
                    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]; };
                const element = document.querySelector(SELECTOR), text = luminance(getComputedStyle(element).color);
                const behind = luminance(getComputedStyle(element.closest('section, body')).backgroundColor);
                return (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
            })()""".replace("SELECTOR", repr(selector))
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(page: Chromium, scheme: str) -> None:
    page.colour_scheme(scheme)
    page.wait(f"document.documentElement.dataset.theme === '{scheme}'")
    for selector in (
        "h1",
        "#title",
        "#link",
        "th",
        ".state.good",
        ".state.bad",
        "#log .time",
        "#log .frame",
        "#log .toDevice",
        "#log .fromDevice",
        "#log .event",
    ):
        assert contrast(page, selector) >= 4.5, selector


def test_it_works_by_keyboard(page: Chromium) -> None:
    page.evaluate("document.activeElement.blur()")
    page.press("Tab")
    assert page.evaluate("document.activeElement.dataset.port") == "ttyMeter"
    page.press("ArrowDown")
    page.press("Enter")
    page.wait("document.querySelector('#shown').innerText === 'only ttyScale'")
    page.wait("document.querySelector('#log').innerText.includes('ttyScale')")
    assert rows_shown(page) == {"ttyScale"}
    assert page.evaluate("document.activeElement.dataset.port") == "ttyScale"
    page.press("Escape")
    page.wait("document.querySelector('#shown').innerText === 'all ports'")
    page.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.write("1013")
    page.wait("document.querySelectorAll('#log div:not([hidden])').length > 0")
    assert rows_shown(page) == {"ttyMeter"}
    page.press("Escape")
    assert page.evaluate("document.querySelector('#find').value") == ""
    page.press("c")
    page.press(" ")
    assert page.evaluate("document.querySelector('#pause').getAttribute('aria-pressed')") == "true"
    page.wait("/waiting/.test(document.querySelector('#count').innerText)")
    page.press(" ")
    page.wait("!/waiting/.test(document.querySelector('#count').innerText)")


def test_a_page_that_connects_again_shows_what_was_before(page: Chromium, address: str) -> None:
    page.open("about:blank")
    page.wait("location.href === 'about:blank'")
    page.open(address)
    page.wait(
        "document.querySelector('#log')?.innerText.includes('an application opened') || document.querySelectorAll('#log div').length > 20"
    )


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("{token}/", None, 200),
        ("{token}/other", None, 404),
        ("", None, 404),
        ("wrong-token/", None, 404),
        ("{token}x/events", None, 404),
        ("{token}/", "evil.example", 404),
        ("{token}/events", "evil.example", 404),
        ("%C3%A9/", None, 404),
    ],
)
def test_only_the_address_with_the_token_is_answered(
    address: str, path: str, host: str | None, status: int
) -> None:
    place = urlsplit(address)
    assert place.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection(place.netloc, timeout=30)
    try:
        path = "/" + path.replace("{token}", place.path.strip("/"))
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        assert answer.status == status
        if status == 200:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert b"http://" not in answer.read().replace(b"http://www.w3.org/2000/svg", b"")
    finally:
        connection.close()


def test_the_hosts_page_ends_with_its_command_and_says_so(scene: Scene, browser: Chromium) -> None:
    program, address = scene.page("serial_host")
    browser.open(address)
    browser.wait("document.querySelectorAll('#ports [data-port]').length === 3")
    browser.wait("document.querySelector('#log').innerText.includes('client 127.0.0.1')")
    program.send_signal(signal.SIGINT)
    wait_for(lambda: program.returncode is not None, "the command to end")
    assert program.returncode == 0
    browser.wait("document.querySelector('#link').innerText.startsWith('ended')")


def test_pictures_can_be_taken(page: Chromium, tmp_path: Path) -> None:
    page.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
