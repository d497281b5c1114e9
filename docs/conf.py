"""How Sphinx makes a site of the pages in this directory; `make docs` calls it."""

from pathlib import Path

project = "EFLOW Serial Relay"
author = "the project's authors"
release = version = (Path(__file__).parent.parent / "VERSION").read_text(encoding="utf-8").strip()

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["requirements.*"]
# Each heading down to the third level is an anchor, spelt as GitHub spells it, so that links work in both places.
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]

html_theme = "furo"
html_title = f"EFLOW Serial Relay {version}"
html_show_sphinx = html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
# Quotation marks in tables belong to values that people copy.
smartquotes = False
highlight_language = "none"
# The pages are read without a network too: nothing is loaded from elsewhere.
html_theme_options = {"light_css_variables": {"font-stack": "system-ui, sans-serif"}}
