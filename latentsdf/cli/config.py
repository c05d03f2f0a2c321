"""`latentsdf config`: print a preset with the meaning of every setting."""

import sys
from typing import Annotated, Any, ClassVar

import tyro

from latentsdf.cli.arg_types import UNSET
from latentsdf.cli.parser import Command, command, command_line
from latentsdf.cli.settings import print_config


@command
class Config(Command):
    """Print a training preset as YAML with the meaning of every setting.

    Use train --print-config or reconstruct --print-config for the configuration that a command line results in.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf config",
        "latentsdf config latentsdf_cpu",
        "latentsdf config deepsdf_cpu > mine.yaml",
    )

    name: Annotated[tyro.conf.Positional[str | None], UNSET] = None
    """Preset or YAML file. If omitted, the names of all presets are listed."""

    def run(self) -> dict[str, Any] | None:
        """Print one preset, or the names of all presets; returns them as a dictionary with `--json`."""
        from latentsdf.config import loader, training

        if self.name is not None:
            config = loader.load(training.Config, loader.find_preset(self.name))
            if self.json:
                return loader.to_dict(config)
            print_config(config)
            return None
        names = loader.preset_names()
        if self.json:
            return {"presets": names}
        sys.stdout.write("".join(f"{name}\n" for name in names))
        return None

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to print a preset, or how to train with one."""
        if self.name is None:
            return command_line("latentsdf", "config", "latentsdf_cpu")
        words = ("latentsdf", "train", "--config", self.name, "--data", "STORE", "--out", "checkpoints/mine")
        return command_line(*words)
