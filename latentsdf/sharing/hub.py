"""Spaces on Hugging Face: `hf://user/space`, optionally with `@revision` (a branch, a tag or a commit).

Only `manifest.json` and the files that it names are downloaded, into the cache of huggingface_hub, and each is compared
with its size and SHA-256 in the manifest. A connection that is cut is continued, by huggingface_hub in steps of 10 MB;
when the command is repeated, files that are complete are not downloaded again. Without a network, or with
HF_HUB_OFFLINE=1, the copy in the cache is used. Files of unknown origin are as safe to read as any other space: none is
unpickled or executed.
"""

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentsdf.sharing.model_card import card_files, is_handwritten, is_handwritten_text
from latentsdf.sharing.pack import PICTURE
from latentsdf.training import checkpoint
from latentsdf.training.checkpoint import CARD
from latentsdf.utils.artifacts import MANIFEST, MAX_MANIFEST, Artifact, write_artifact
from latentsdf.utils.console import show_note
from latentsdf.utils.errors import CheckpointError, ConfigError, HubError, LatentSDFError, MissingExtraError
from latentsdf.utils.output_folders import require_writable_output

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# A path collapses the two slashes.
_URI = re.compile(r"hf:/{1,2}(?P<repo>[^@]*)(?:@(?P<revision>.*))?")
_REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_UNREACHABLE = ("httpx", "httpcore", "requests", "urllib3")  # packages whose errors are those of the network


def parse_repo(name: str) -> tuple[str, str | None]:
    """Split `hf://user/space@revision`, also without the prefix, into the repository and the revision.

    Raises:
        ConfigError: It is not the name of a repository.
    """
    text = name.replace("\\", "/")
    if not text.startswith("hf:/"):
        text = f"hf://{text}"
    found = _URI.fullmatch(text)
    if found is None or _REPO.fullmatch(found["repo"]) is None or found["revision"] == "":
        raise ConfigError(f"{name}: expected hf://USER/SPACE or hf://USER/SPACE@REVISION")
    return found["repo"], found["revision"]


def download(repo: str, revision: str | None = None, *, token: str | None = None) -> Path:
    """Download a space into the cache of huggingface_hub, or find it there.

    Args:
        repo: Repository, `user/space`.
        revision: Branch, tag or commit; the main branch by default.
        token: Token for a private repository; by default that of `hf auth login` or of the variable HF_TOKEN.

    Returns:
        Folder of the space.

    Raises:
        HubError: The repository cannot be reached, does not exist or is private, or the disk is full.
        CheckpointError: It holds no space, or files that do not match their manifest.
        MissingExtraError: huggingface_hub is not installed.
    """
    api, where = _api(token), f"hf://{repo}" + (f"@{revision}" if revision else "")
    try:
        with _explained(where):
            found = api.model_info(repo, revision=revision, files_metadata=True)
            folder = _fetch(api, repo, MANIFEST, revision, _sizes(found), MAX_MANIFEST, where).parent
            if folder.name != found.sha:  # the branch has moved in between
                found = api.model_info(repo, revision=folder.name, files_metadata=True)
    except HubError as error:
        if not error.unreachable:
            raise
        return _cached(repo, revision, where, error)
    sizes, artifact = _sizes(found), checkpoint.open_files(folder)
    for name in artifact.files:
        with _explained(where):
            _fetch(api, repo, name, folder.name, sizes, artifact.size(name), where)
        _require_same(artifact, name, where, partial(_fetch_again, api, repo, name, folder.name, where))
    return folder


def pull(
    repo: str, out: Path, revision: str | None = None, *, token: str | None = None, overwrite: bool = False
) -> Path:
    """Copy a space from Hugging Face to a folder.

    Args:
        repo: Repository, `user/space`.
        out: Folder of the copy.
        revision: As for `download`.
        token: As for `download`.
        overwrite: Replace the space in `out`.

    Returns:
        The folder.

    Raises:
        HubError, CheckpointError, MissingExtraError: As for `download`; CheckpointError if the folder holds outputs.
    """
    require_writable_output(out, "space", overwrite=overwrite)
    folder = download(repo, revision, token=token)
    artifact = checkpoint.open_files(folder)
    with _explained(str(out)), write_artifact(out, "space", checkpoint.FILES) as staged:
        for name in artifact.files:
            if name == CARD:  # never in the manifest of a packed space, so that it can be edited
                continue
            shutil.copyfile(artifact.path(name), staged / name)
        for path in card_files(out):
            path.unlink(missing_ok=True)
    return out


def push(
    folder: Path,
    repo: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    message: str = "Upload space with latentsdf",
    overwrite_card: bool = False,
) -> str:
    """Upload a packed space as one commit; files that are there already are not uploaded again.

    Args:
        folder: Folder of the space.
        repo: Repository, `user/space`; created if missing.
        private: Visibility of a new repository; None for the default of the user or the organization.
        token: Token with permission to write; by default that of `hf auth login` or of the variable HF_TOKEN.
        message: Message of the commit.
        overwrite_card: Replace a model card that was written or changed by hand.

    Returns:
        URL of the commit.

    Raises:
        HubError: The repository cannot be reached or written to.
        CheckpointError: A file of the space is damaged.
        MissingExtraError: huggingface_hub is not installed.
    """
    api, where = _api(token), f"hf://{repo}"
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    artifact = checkpoint.open_files(folder)
    files = [*artifact.files, MANIFEST, *(name for name in (CARD, PICTURE) if (folder / name).is_file())]
    for name in artifact.files:
        artifact.path(name)
    with _explained(where):
        api.create_repo(repo, private=private, exist_ok=True)
        present = _sizes(api.model_info(repo, files_metadata=True))
        if CARD in files and CARD in present and not overwrite_card and not is_handwritten(folder):
            remote = Path(api.hf_hub_download(repo, CARD)).read_text(encoding="utf-8", errors="replace")
            if is_handwritten_text(remote):
                files.remove(CARD)
                show_note("kept", f"{where}: its model card was written by hand; pass --overwrite-card to replace it")
        outdated = [name for name in checkpoint.FILES if name in present and name not in (*files, CARD)]
        changes: list[Any] = [CommitOperationAdd(name, folder / name) for name in dict.fromkeys(files)]
        changes += [CommitOperationDelete(name) for name in outdated]
        return str(api.create_commit(repo, changes, commit_message=message).commit_url)


def _api(token: str | None) -> "HfApi":
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError(
            f"spaces on Hugging Face need huggingface_hub: pip install 'latentsdf[hub]' ({error})"
        ) from error
    return HfApi(token=token, library_name="latentsdf")


def _sizes(info: Any) -> dict[str, int | None]:
    """Sizes of the files of a repository by name."""
    return {file.rfilename: file.size for file in info.siblings or []}


def _fetch(
    api: "HfApi", repo: str, name: str, revision: str | None, sizes: dict[str, int | None], size: int, where: str
) -> Path:
    """Download a file that has the size that the manifest says; the manifest itself, at most that size."""
    found = sizes.get(name)
    if name not in sizes and name == MANIFEST:
        raise CheckpointError(f"{where}: is not a latentsdf space, it has no {MANIFEST}")
    if found is None or (found > size if name == MANIFEST else found != size):
        known = "is missing" if found is None else f"has {found:,} bytes"
        most = "at most " if name == MANIFEST else ""
        raise CheckpointError(f"{where}: {name} {known}, expected {most}{size:,}; tell its owner")
    return Path(api.hf_hub_download(repo, name, revision=revision))


def _fetch_again(api: "HfApi", repo: str, name: str, revision: str, where: str) -> None:
    with _explained(where):
        api.hf_hub_download(repo, name, revision=revision, force_download=True)


def _require_same(artifact: Artifact, name: str, where: str, repeat: Callable[[], None] | None = None) -> None:
    """Compare a file with the manifest; one that is damaged in the cache is downloaded once more."""
    try:
        artifact.path(name)
    except CheckpointError as error:
        if repeat is None:
            raise CheckpointError(f"{where}: {name} is damaged in the cache; load the space with a network") from error
        repeat()
        try:
            artifact.path(name)
        except CheckpointError as again:
            raise CheckpointError(
                f"{where}: the SHA-256 of {name} is not that in {MANIFEST}; tell its owner"
            ) from again


def _cached(repo: str, revision: str | None, where: str, reason: HubError) -> Path:
    """Return the copy in the cache, if it is complete."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, MANIFEST, revision=revision)
    if not isinstance(found, str):
        raise HubError(f"{reason}, and there is no copy in the cache", unreachable=True) from reason
    artifact = checkpoint.open_files(Path(found).parent)
    missing = [name for name in artifact.files if name not in artifact]
    if missing:
        raise HubError(f"{reason}, and the copy in the cache lacks {', '.join(missing)}", unreachable=True) from reason
    for name in artifact.files:
        _require_same(artifact, name, where)
    show_note("cached", f"{where}: the copy in the cache is used, without asking for a newer one ({reason})")
    return artifact.folder


@contextmanager
def _explained(where: str) -> Iterator[None]:
    """Convert errors of huggingface_hub, of the network and of a full disk to `HubError`."""
    from huggingface_hub import errors

    try:
        yield
    except LatentSDFError:
        raise
    except errors.GatedRepoError as error:
        raise HubError(f"{where}: has conditions to accept on its page first; then log in: `hf auth login`") from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{where}: there is no such revision") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"{where}: there is no such repository, or it is private; for a private one, log in (`hf auth login`), set "
            "HF_TOKEN or pass token="
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise HubError(f"{where}: HF_HUB_OFFLINE is set", unreachable=True) from error
    except errors.HFValidationError as error:
        raise ConfigError(f"{where}: {error!s:.200}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise HubError(
                f"{where}: access denied ({status}); log in (`hf auth login`), set HF_TOKEN or pass token=, with a "
                "token that may read it, or for push, write to it"
            ) from error
        answer = " ".join(str(error).split())
        raise HubError(f"{where}: Hugging Face answers {status}: {answer:.120}", unreachable=status >= 429) from error
    except errors.LocalEntryNotFoundError as error:
        raise HubError(f"{where}: cannot be reached; check the network", unreachable=True) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HubError(
                f"{where}: the disk is full ({error.filename or 'cache'}); free space or set HF_HOME"
            ) from error
        if isinstance(error, RuntimeError | ValueError):  # an upload that failed, or metadata that are refused
            raise HubError(f"{where}: {error!s:.300} ({error.__cause__ or 'refused'!s:.200})") from error
        is_network = type(error).__module__.startswith(_UNREACHABLE) or isinstance(
            error, ConnectionError | TimeoutError
        )
        if is_network or (isinstance(error, OSError) and "Consistency check failed" in str(error)):
            raise HubError(
                f"{where}: cannot be reached ({error!s:.100}); check the network", unreachable=True
            ) from error
        raise
