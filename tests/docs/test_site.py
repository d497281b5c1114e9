"""The pages of docs/ become a site without a warning, and every link of the site and of the READMEs leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]


class _Page(HTMLParser):
    """What a page has and what it points at."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.update(value for key in ("id", "name") if (value := values.get(key)))
        if tag == "a" and (target := values.get("href")):
            self.links.append(target)
        elif target := values.get("src") or (values.get("href") if tag == "link" else None):
            self.loaded.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    made = subprocess.run(
        [*command, "-d", str(built / ".doctrees"), "docs", str(built / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert made.returncode == 0, made.stderr
    return built / "html"


def test_each_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {file: _Page(file) for file in site.rglob("*.html")}
    assert len(pages) > 10
    dead = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.exists() or (
                parts.fragment and target in pages and parts.fragment not in pages[target].anchors
            ):
                dead.append(f"{file.name}: {link}")
    assert not dead


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = {link for file in site.rglob("*.html") for link in _Page(file).loaded}
    assert loaded
    assert not {link for link in loaded if urlsplit(link).netloc}


@pytest.mark.parametrize("page", ["README.md", "examples/README.md"])
def test_each_link_of_a_readme_leads_to_a_file(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not urlsplit(link).scheme]
    assert len(links) >= 5
    assert not [link for link in links if not ((ROOT / page).parent / urlsplit(link).path).exists()]


def test_every_page_stands_in_the_readmes_list() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert not {page for page in pages if f"](docs/{page})" not in readme}
