"""Configuration of Sphinx; `make docs` builds the pages into docs/_build/html, without network access."""

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

import latentsdf  # noqa: E402

project = "latentsdf"
author = "the latentsdf developers"
copyright = "the latentsdf developers, Apache-2.0"
version = release = latentsdf.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "command_output",
    "docstring_markup",
    "mathml",
    "module_doc",
    "result_plots",
]
exclude_patterns = ["_build", "_ext", "tutorials/.*"]
nitpicky = False

html_theme = "furo"
html_title = f"latentsdf {version}"
html_static_path = ["_static"]
html_css_files = ["latentsdf.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": True}
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence"]
myst_heading_anchors = 4
myst_dmath_double_inline = True

# Tutorials run in a temporary folder.
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "notebooks")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 900
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars
os.environ["PYTHONPATH"] = os.pathsep.join([str(DOCS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": False}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
default_role = "code"
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_rtype = False
napoleon_preprocess_types = False
