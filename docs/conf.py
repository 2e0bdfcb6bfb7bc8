"""How Sphinx makes a site of this folder; ``make docs`` runs it, and devtools/site is what it needs beside its own."""

from archiver.version import __version__

project = "Archiver"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "sphinx_copybutton", "devtools.site.extension"]

# Anchors as GitHub makes them, so that a link works in both places.
myst_heading_anchors = 4
# Types of other packages have no page here.
nitpick_ignore_regex = [("py:.*", ".*")]
autodoc_class_signature = "separated"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
add_module_names = False
# What is indented is a terminal's input and output, or a drawing.
highlight_language = "none"
# Options have two hyphens, and stay as they are typed.
smartquotes = False

html_theme = "furo"
html_title = "Archiver"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_search_summary = True
templates_path: list[str] = []
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6feb", "color-brand-content": "#1f6feb"},
    "dark_css_variables": {"color-brand-primary": "#6cb6ff", "color-brand-content": "#6cb6ff"},
}

# A command's prompt is not copied with it, nor is what it printed.
copybutton_prompt_text = "$ "
