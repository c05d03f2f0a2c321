"""The commands of `latentsdf`, and the help that lists them.

The summary of a command is the first line of its docstring, which is read from the source without importing the
command: `latentsdf --help` answers at once.
"""

import ast
import contextlib
from dataclasses import make_dataclass
from importlib import resources
from typing import Annotated, Any, Union

import tyro

from latentsdf.cli.help_style import CONFIG, print_examples

COMMANDS = {
    "demo": "demo:Demo",
    "train": "train:Train",
    "extract": "extract:Extract",
    "invert": "invert:Invert",
    "interpolate": "interpolate:Interpolate",
    "sample": "sample:Sample",
    "retrieve": "retrieve:Retrieve",
    "render": "render:Render",
    "evaluate": "evaluate:Evaluate",
    "reconstruct": "reconstruct:Reconstruct",
    "export": "export:Export",
    "import": "import_:Import",
    "view": "view:View",
    "pack": "pack:Pack",
    "push": "push:Push",
    "pull": "pull:Pull",
    "info": "info:Info",
    "config": "config:Config",
    "doctor": "doctor:Doctor",
}
"""Module and class of each command; imported on use."""


EXAMPLES = (
    "latentsdf demo",
    "latentsdf-preprocess --source meshes/furniture --category chair --split splits/chair_train.json --out chairs.zarr",
    "latentsdf train --config latentsdf_cpu --data chairs.zarr --out checkpoints/chairs --minutes 15",
    "latentsdf extract checkpoints/chairs --id kenney_chair --resolution 512 --out chair.ply",
    "latentsdf invert checkpoints/chairs new_chair.obj --out fit/",
    "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_test.json --invert",
)
DESCRIPTION = """Train and use shape spaces with one latent code per 3D shape.

latentsdf COMMAND --help explains a command. latentsdf --version prints the version. latentsdf --print-completion SHELL
prints a completion script for bash, zsh or fish: eval "$(latentsdf --print-completion bash)"."""


def print_help() -> None:
    """Print the description of the program, its commands and examples."""
    with contextlib.suppress(SystemExit):
        commands: Any = Union[tuple(_outline(name) for name in COMMANDS)]  # noqa: UP007
        tyro.cli(commands, args=["--help"], prog="latentsdf", description=DESCRIPTION, config=CONFIG)
    print_examples(EXAMPLES)


def summary(name: str) -> str:
    """Return the first line of the docstring of a command."""
    module, _, class_name = COMMANDS[name].partition(":")
    source = resources.files(__package__).joinpath(f"{module}.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    raise LookupError(f"{module}.py has no class {class_name}")


def _outline(name: str) -> Any:
    """A subcommand of this name and summary, without arguments."""
    return Annotated[make_dataclass(name, []), tyro.conf.subcommand(name, description=summary(name))]
