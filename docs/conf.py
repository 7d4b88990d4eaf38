"""The site's build: `make docs`. Nothing in it asks another server, neither built nor read."""

from yololine import __version__

project = "yololine"
author = "the yololine authors"
project_copyright = "the yololine authors, Apache-2.0"
release = version = __version__

extensions = ["myst_parser"]
# A link to a heading of any page is checked, as a code host makes them: page.md#a-heading.
myst_heading_anchors = 3
# The pages speak of files of the repository, which are no pages.
exclude_patterns = ["conf.py"]
nitpicky = True

html_theme = "furo"
html_title = f"yololine {release}"
html_static_path = ["_static"]
html_css_files = ["phone.css"]
html_copy_source = False
html_show_sourcelink = False
# Said of no page: when a page was built is of no use to its reader.
html_last_updated_fmt = None
