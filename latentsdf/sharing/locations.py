"""Where a space is: a folder, the name of a space that comes with latentsdf, or `hf://user/space` on Hugging Face.

A folder with such a name in the working directory takes precedence.
"""

from pathlib import Path

from latentsdf.utils.errors import CheckpointError

PRETRAINED = ("furniture",)
"""Names of the spaces that come with latentsdf."""

_PACKAGE = Path(__file__).resolve().parents[1]


def locate_space(space: Path | str) -> Path:
    """Return the folder of a space.

    Args:
        space: Folder, name in `PRETRAINED`, or `hf://user/space@revision`, which is downloaded.

    Returns:
        The folder, which need not exist if a path is given.

    Raises:
        CheckpointError: The named space is not part of this installation.
        HubError, CheckpointError, MissingExtraError: As for `hub.download`.
    """
    if str(space).startswith("hf:"):
        from latentsdf.sharing.hub import download, parse_repo

        return download(*parse_repo(str(space)))
    folder = Path(space)
    if str(space) not in PRETRAINED or folder.exists():
        return folder
    shipped = pretrained_folder(str(space))
    if not (shipped / "model.safetensors").is_file():
        raise CheckpointError(
            f"the pretrained space '{space}' is not part of this installation, which looked for it in {shipped}; "
            "install a release of latentsdf, or train a space (`latentsdf demo`)"
        )
    return shipped


def pretrained_folder(name: str) -> Path:
    """Return the folder of a space of an installed wheel (`latentsdf/pretrained`) or a source checkout."""
    shipped = _PACKAGE / "pretrained"
    return (shipped if shipped.is_dir() else _PACKAGE.parent / "checkpoints") / name
