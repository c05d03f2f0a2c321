"""Checks of the installation and the machine, for `latentsdf doctor`."""

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

import psutil
from packaging.requirements import Requirement
from packaging.version import Version

from latentsdf import __version__
from latentsdf.utils import numba_cache
from latentsdf.utils.cgroup import cpu_limit, memory_limit

Status = Literal["ok", "note", "error"]

TESTED_PYTHON = ((3, 11), (3, 14))
"""First and last minor version of Python for which wheels of all required packages are checked."""
_LITTLE_MEMORY = 4e9
_LITTLE_DISK = 5e9
_PACKAGE = Path(__file__).parent.parent
_EXTRAS = {
    "cpu": "faiss",
    "bodies": "anny",
    "cloud": "obstore",
    "dask": "distributed",
    "draco": "DracoPy",
    "e57": "pye57",
    "export": "onnx",
    "las": "laspy",
    "mesh-to-sdf": "mesh_to_sdf",
    "open3d": "open3d",
    "tensorboard": "tensorboard",
    "trackio": "trackio",
    "usd": "pxr",
    "video": "av",
    "viewer": "pyglet",
    "wandb": "wandb",
}
"""One module of each extra."""


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    name: str
    """What was checked."""
    status: Status
    """`ok`; `note` for what limits or slows down; `error` for what does not work."""
    found: str
    """What was found."""
    mend: str = ""
    """What to do about it; empty if nothing."""

    def as_dict(self) -> dict[str, str]:
        """Return the fields as JSON values."""
        return asdict(self)


def check_installation() -> list[Check]:
    """Run all checks; one that fails itself is reported as an error."""
    checks: list[Callable[[], Iterator[Check]]] = [
        _python, _packages, _processor, _memory, _disk, _gpu, _retrieval, _extras, _kernels
    ]  # fmt: skip
    results: list[Check] = []
    for check in checks:
        try:
            results += check()
        except Exception as error:  # a broken package must not end the report
            name = check.__name__.strip("_")
            results.append(
                Check(name, "error", f"{type(error).__name__}: {error}", "reinstall the package named above")
            )
    return results


def _python() -> Iterator[Check]:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}, latentsdf {__version__}"
    low, high = TESTED_PYTHON
    if sys.version_info[:2] < low:
        yield Check("Python", "error", found, f"install Python {low[0]}.{low[1]} or later")
    elif sys.version_info[:2] > high:
        yield Check("Python", "note", found, f"newer than tested; the newest tested version is {high[0]}.{high[1]}")
    else:
        yield Check("Python", "ok", found)


def _packages() -> Iterator[Check]:
    """Compare required packages with the requirements (errors) and with the tested versions (notes)."""
    tested = tested_versions()
    broken, other = [], []
    count = 0
    for text in metadata.requires("latentsdf") or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        count += 1
        try:
            version = Version(metadata.version(requirement.name))
        except metadata.PackageNotFoundError:
            broken.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            broken.append(f"{requirement.name} {version} is not {requirement.specifier}")
        pin = tested.get(_normalized(requirement.name))
        if pin is not None and version.public != Version(pin).public:
            other.append(f"{requirement.name} {version} (tested: {pin})")
    if not count:
        yield Check(
            "packages", "note", "no metadata of latentsdf", "install it with pip instead of adding it to a path"
        )
    elif broken:
        yield Check("packages", "error", "; ".join(broken), "run: pip install --upgrade latentsdf")
    elif other:
        advice = "allowed, but only the tested versions are tested; pip install -c constraints.txt selects them"
        yield Check("packages", "note", "; ".join(other), advice)
    else:
        yield Check("packages", "ok", f"{count} required packages, all in the tested versions")


def tested_versions() -> dict[str, str]:
    """Return the tested version of each package: constraints.txt, of which the wheel carries a copy."""
    for path in (_PACKAGE / "tested_versions.txt", _PACKAGE.parent / "constraints.txt"):
        if path.is_file():
            pins = (line.strip().partition("==") for line in path.read_text(encoding="utf-8").splitlines())
            return {_normalized(name): version for name, equals, version in pins if equals and not name.startswith("#")}
    return {}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _processor() -> Iterator[Check]:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_limit()
    cores = usable if quota is None else min(usable, quota)
    found = f"{cores:g} usable cores of {os.cpu_count()}, {torch.get_num_threads()} threads in torch"
    if torch.get_num_threads() > max(1, cores + 0.5):
        advice = f"more threads than cores are slow; set OMP_NUM_THREADS={max(1, int(cores))}"
        yield Check("processor", "note", found, advice)
    elif torch.get_num_threads() < int(cores) // 2:
        advice = "fewer threads than cores; unset OMP_NUM_THREADS if this is not intended"
        yield Check("processor", "note", found, advice)
    else:
        yield Check("processor", "ok", found)


def _memory() -> Iterator[Check]:
    machine, limit = psutil.virtual_memory(), memory_limit()
    total = machine.total if limit is None else min(limit, machine.total)
    found = f"{total / 1e9:.1f} GB, {machine.available / 1e9:.1f} GB of the machine free"
    if limit is not None and limit < machine.total:
        found += f" (limited by the container; the machine has {machine.total / 1e9:.1f} GB)"
    if total < _LITTLE_MEMORY:
        advice = f"below {_LITTLE_MEMORY / 1e9:g} GB; use --workers 1 for preprocessing and --train.memory-gb 1"
        yield Check("memory", "note", found, advice)
    else:
        yield Check("memory", "ok", found)


def _disk() -> Iterator[Check]:
    free = {str(Path.cwd()): shutil.disk_usage(Path.cwd()).free}
    free[tempfile.gettempdir()] = shutil.disk_usage(tempfile.gettempdir()).free
    found = ", ".join(f"{amount / 1e9:.1f} GB free in {path}" for path, amount in free.items())
    if min(free.values()) < _LITTLE_DISK:
        yield Check("disk", "note", found, "a store needs about 5 MB per shape at 512 cells per axis; free some space")
    else:
        yield Check("disk", "ok", found)


def _gpu() -> Iterator[Check]:
    import torch

    built_for = torch.version.cuda
    if torch.cuda.is_available():
        supported = torch.cuda.get_arch_list()
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            kind = f"sm_{properties.major}{properties.minor}"
            found = f"cuda:{number} {properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {built_for}"
            if any(_runs(kind, arch) for arch in supported):
                yield Check("GPU", "ok", found)
            else:
                advice = f"this torch is built for {', '.join(supported)}, not {kind}; install one for this GPU"
                yield Check("GPU", "error", found, f"{advice}, or use --device cpu")
    elif shutil.which("nvidia-smi"):
        found = f"a driver, but torch {torch.__version__} finds no device"
        cause = "is built without CUDA" if built_for is None else f"needs a driver for CUDA {built_for}"
        advice = f"torch {cause}; see pytorch.org for the right build"
        yield Check("GPU", "note", found, advice)
    elif getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        yield Check("GPU", "ok", "Apple mps, used by --device mps")
    else:
        yield Check("GPU", "ok", "none; everything runs on the processor")


def _runs(kind: str, arch: str) -> bool:
    """Return True if code for `arch`, such as sm_80 or compute_80, runs on a GPU of a kind such as sm_86."""
    have, built = re.fullmatch(r"sm_(\d+)(\d)", kind), re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", arch)
    if have is None or built is None:
        return False
    major, minor = int(have[1]), int(have[2])
    needed = (int(built[2]), int(built[3]))
    return needed <= (major, minor) if built[1] == "compute" else needed[0] == major and needed[1] <= minor


def _retrieval() -> Iterator[Check]:
    installed = [name for name in ("faiss-cpu", "faiss-gpu") if _is_installed(name)]
    if len(installed) > 1:
        advice = "they replace each other's files; run: pip uninstall faiss-cpu faiss-gpu, then install one"
        yield Check("FAISS", "error", " and ".join(installed), advice)
    elif installed:
        import faiss

        gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
        yield Check("FAISS", "ok", f"{installed[0]} {metadata.version(installed[0])}, {gpus} GPUs")
    else:
        advice = "retrieval is exact and in NumPy; for more than 100,000 shapes: pip install 'latentsdf[cpu]'"
        yield Check("FAISS", "note", "not installed", advice)


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _extras() -> Iterator[Check]:
    present = [extra for extra, module in _EXTRAS.items() if util.find_spec(module) is not None]
    absent = [extra for extra in _EXTRAS if extra not in present]
    found = f"installed: {', '.join(present) or 'none'}"
    advice = f"optional: pip install 'latentsdf[EXTRA]' with {', '.join(absent)}" if absent else ""
    yield Check("extras", "ok", found, advice)


def _kernels() -> Iterator[Check]:
    from latentsdf.cli import kernels

    known = kernels.needed_kernels()
    compiled = sum(numba_cache.is_compiled(kernel) for kernel in known)
    folders = {Path(kernel.stats.cache_path).parents[1] for kernel in known if kernel.stats.cache_path}
    found = f"{compiled} of {len(known)} compiled"
    if not folders:
        advice = (
            "no cache folder is writable, so every process compiles again; set NUMBA_CACHE_DIR to a writable folder"
        )
        yield Check("kernels", "note", found, advice)
    else:
        where = ", ".join(str(folder) for folder in sorted(folders))
        advice = "" if compiled == len(known) else "compiled on first use, or now by: latentsdf doctor --compile"
        yield Check("kernels", "ok", f"{found}, cached in {where}", advice)
