"""`latentsdf train`: train a shape space."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from latentsdf.cli import legacy_flags
from latentsdf.cli.arg_types import UNSET, integer, positive_float
from latentsdf.cli.common_args import DeviceArgs, create_output_folder
from latentsdf.cli.parser import command, command_line, is_help_requested
from latentsdf.cli.settings import (
    TOP_LEVEL,
    given_settings,
    migrate_setting,
    print_config,
    settings_type,
    with_defaults,
    with_settings,
)
from latentsdf.config.loader import find_preset, load
from latentsdf.config.training import Config
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError

_EXTENDING_STEPS = 2_000
"""Default with --extend and --start-from: most of the training was that of the space."""
_UNLIMITED_STEPS = 10_000_000

if TYPE_CHECKING:
    TrainSettings = Any
else:
    TrainSettings = settings_type(Config)


@command
class Train(DeviceArgs):
    """Train a shape space on a sample store.

    Settings start from the defaults, the preset --config, the run to --resume, or the space to --extend or to
    --start-from.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf train --config latentsdf_cpu --data chairs.zarr --out checkpoints/chairs --minutes 15",
        "latentsdf train --data chairs.zarr --out checkpoints/chairs --resume",
        "latentsdf train --extend checkpoints/chairs --data more.zarr --out checkpoints/more",
        "latentsdf train --start-from furniture --data my_chairs.zarr --out checkpoints/my_chairs --minutes 15",
        "latentsdf train --config compact_sdf_cpu --loss.heat-lambda 4 0.2 4 30 --print-config",
    )

    # Renamed here, because their migration needs the weights of the terms, which a command line may omit.
    renamed: ClassVar[Mapping[str, str]] = {
        f"--loss.{term}-branch": "--loss.regularizer-branch" for term in ("eikonal", "heat", "divergence", "lipschitz")
    }

    data: Path
    """Sample store written by latentsdf-preprocess."""
    out: Path
    """Checkpoint folder to write."""
    config: Annotated[str | None, UNSET] = None
    """Preset, or YAML file that lists the settings that differ from the defaults."""
    minutes: Annotated[float | None, positive_float(), UNSET] = None
    """Time budget of the training loop (--train.minutes)."""
    steps: Annotated[int | None, integer(), UNSET] = None
    """Number of optimization steps (--train.steps)."""
    seed: Annotated[int | None, integer(), UNSET] = None
    """Seed of initialization and sampling (--train.seed)."""
    log: Annotated[Literal["csv", "tensorboard", "trackio", "wandb"] | None, UNSET] = None
    """Log besides metrics.jsonl (--train.log)."""
    resume: bool = False
    """Continue the run in --out. Under torchrun, a run that has no checkpoint yet is started."""
    extend: Annotated[Path | None, tyro.conf.arg(metavar="SPACE", help_behavior_hint="")] = None
    """Add the shapes of --data to this space; only their codes are trained."""
    fine_tune: bool = False
    """With --extend: also train the networks and the feature grid."""
    start_from: Annotated[Path | None, tyro.conf.arg(metavar="SPACE", help_behavior_hint="")] = None
    """Start from the networks, the feature grid and the codes of this space, and train on the shapes of --data."""
    overwrite: bool = False
    """Replace the space in --out."""
    print_config: bool = False
    """Print the resulting configuration as YAML with the meaning of every setting, and exit."""
    settings: Annotated[TrainSettings, TOP_LEVEL] = field(default_factory=TrainSettings)

    @classmethod
    def migrate_setting(cls, flag: str, args: Sequence[str]) -> dict[str, list[str]] | None:
        """Convert a setting of an earlier version to its current name."""
        return migrate_setting(Config, flag, args)

    @classmethod
    def defaults(cls, args: Sequence[str]) -> "Train":
        """Return the settings of the preset --config as defaults."""
        name = legacy_flags.option(args, "--config")
        config = Config() if name is None else load(Config, find_preset(name))
        missing = tyro.MISSING if is_help_requested(args) else Path()
        return cls(data=missing, out=missing, settings=with_defaults(TrainSettings, config))

    def run(self) -> dict[str, Any] | None:
        """Train; returns the last metrics on rank 0, and None on other ranks."""
        if self.extend is not None and (self.resume or self.config is not None):
            raise ConfigError("--extend uses the settings of the space; leave out --resume and --config")
        if self.start_from is not None and (self.resume or self.extend is not None or self.config is not None):
            raise ConfigError("--start-from uses the settings of the space; leave out --resume, --extend and --config")
        if self.fine_tune and self.extend is None:
            raise ConfigError("--fine-tune requires --extend SPACE")
        config = self.configuration()
        if self.print_config:
            print_config(config)
            return None
        if not self.resume:
            create_output_folder(self.out)
        if self.extend is not None and self._trained is not None:
            from latentsdf.training.extend import extend

            metrics = extend(
                self._trained,
                self.data,
                self.out,
                config,
                fine_tune=self.fine_tune,
                overwrite=self.overwrite,
                device=self.device,
            )
            self._show_result(metrics)
            return metrics
        from latentsdf.training import distributed
        from latentsdf.training.train import train

        metrics = train(
            self.data,
            self.out,
            config,
            resume=self.resume,
            start_from=self._trained,
            overwrite=self.overwrite,
            device=self.device,
        )
        if not distributed.is_main_process():
            return None
        self._show_result(metrics)
        return metrics

    def _show_result(self, metrics: Mapping[str, float]) -> None:
        loss = f", loss {metrics['loss']:.3g}" if "loss" in metrics else ""
        console.print(f"{self.out}: {metrics.get('step', 0):,.0f} steps{loss}", soft_wrap=True)

    def next_step(self, result: dict[str, Any] | None) -> str:
        """Return how to extract the trained shapes; nothing where no space was written."""
        if result is None:
            return ""
        return command_line("latentsdf", "extract", self.out, "--all", "--out", "meshes/")

    def configuration(self) -> Config:
        """Return the configuration of the run: preset, run or space, overridden by settings of the command line.

        Raises:
            ConfigError: A setting is unknown or out of range.
        """
        given = given_settings(self.settings, Config)
        shortcuts = {"minutes": self.minutes, "steps": self.steps, "seed": self.seed, "log": self.log}
        given |= {f"train.{name}": value for name, value in shortcuts.items() if value is not None}
        if self.minutes is not None and self.steps is None:
            given.setdefault("train.steps", _UNLIMITED_STEPS)
        if self.config is not None:
            return with_settings(load(Config, find_preset(self.config)), given)
        if self._trained is None and not self.resume:
            return with_settings(Config(), given)
        from latentsdf.training.checkpoint import load_config

        if self._trained is None:
            return with_settings(load_config(self.out), given)
        # The budget in the configuration of the space was that of its training.
        budget = {"train.minutes": 0.0, "train.epochs": 0, "train.steps": _EXTENDING_STEPS}
        return with_settings(load_config(self._trained), budget | given)

    @cached_property
    def _trained(self) -> Path | None:
        """Folder of the space to extend or to start from; one on Hugging Face is downloaded."""
        from latentsdf.sharing.locations import locate_space

        trained = self.extend or self.start_from
        return None if trained is None else locate_space(trained)
