"""`latentsdf pull`: download a space from Hugging Face."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from latentsdf.cli.arg_types import UNSET, OptionalPath
from latentsdf.cli.parser import Command, command, command_line
from latentsdf.utils.console import console


@command
class Pull(Command):
    """Download a space from Hugging Face.

    Its files are compared with the checksums of its manifest. A download that was interrupted continues when the
    command is repeated.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "latentsdf pull user/chairs",
        "latentsdf pull user/chairs@v1 --out chairs",
    )

    repo: tyro.conf.Positional[str]
    """Repository, user/space, optionally with @revision."""
    out: OptionalPath = None
    """Folder to copy the space to (default: only the cache of huggingface_hub)."""
    overwrite: bool = False
    """Replace the space in --out."""
    token: Annotated[str | None, UNSET] = None
    """Token for a private repository (default: that of `hf auth login`, or of the variable HF_TOKEN)."""

    def run(self) -> dict[str, Any]:
        """Download; returns the folder of the space."""
        from latentsdf.sharing.hub import download, parse_repo, pull

        repo, revision = parse_repo(self.repo)
        if self.out is None:
            folder: Path = download(repo, revision, token=self.token)
        else:
            folder = pull(repo, self.out, revision, token=self.token, overwrite=self.overwrite)
        console.print(f"{folder}: load it with ls.load({str(self.out or f'hf://{self.repo}')!r})", soft_wrap=True)
        return {"space": str(folder)}

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return how to extract the shapes of the space."""
        return command_line("latentsdf", "extract", self.out or f"hf://{self.repo}", "--all", "--out", "meshes/")
