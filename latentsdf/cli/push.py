"""`latentsdf push`: upload a space to Hugging Face."""

from typing import Annotated, Any, ClassVar

import tyro

from latentsdf.cli.arg_types import UNSET
from latentsdf.cli.common_args import PackArgs, SpaceArgs
from latentsdf.cli.parser import command, command_line
from latentsdf.utils.console import console


@command
class Push(PackArgs, SpaceArgs):
    """Upload a space to Hugging Face, packed, with a model card.

    A space that `latentsdf pack` wrote is uploaded as it is, unless options of pack are given. Log in with
    `hf auth login` first, or set HF_TOKEN.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf push checkpoints/chairs user/chairs --half --license cc-by-4.0 --private",
        "latentsdf push chairs user/chairs",
    )

    repo: tyro.conf.Positional[str]
    """Repository, user/space; created if missing."""
    private: bool = False
    """Make a new repository private (default: as set by the user or the organization)."""
    token: Annotated[str | None, UNSET] = None
    """Token with permission to write (default: that of `hf auth login`, or of the variable HF_TOKEN)."""

    def run(self) -> dict[str, Any]:
        """Upload; returns the URL of the commit."""
        space = self.load_space()
        url = space.push_to_hub(self.repo, private=self.private or None, token=self.token, **self.pack_options())
        console.print(f"{url}; load it with ls.load('hf://{self.repo}')", soft_wrap=True)
        return {"commit": url}

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to get the space elsewhere."""
        return command_line("latentsdf", "pull", self.repo)
