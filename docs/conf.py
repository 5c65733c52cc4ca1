"""Configuration of the documentation."""

from __future__ import annotations

import bayestrans

project = "bayestrans"
author = "The bayestrans authors"
copyright = "2026, The bayestrans authors"
version = release = bayestrans.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
# Included in pages.
exclude_patterns = ["_build", "side_by_side_tables.md", "side_by_side_more.md", "growth_table.md"]
default_role = "py:obj"  # `Spec` in a docstring links to it where it can

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc docstrings say it better
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = f"bayestrans {release}"
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "header_links_before_dropdown": 7,
}
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# Pages that are no part of a section have nothing to show at the side.
ALONE = ("index", "start", "choose", "troubleshooting", "contributing")
html_sidebars = {name: [] for name in ALONE}
