"""Limits that a container or a cluster job sets on memory and processor time (Linux control groups, v2 and v1)."""

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # v1 reports a number of this size where there is no limit


def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the memory limit of this process in bytes; None if there is none.

    Args:
        root: Where the control groups are mounted.
    """
    texts = [_read(folder / "memory.max") for folder in _own_folders(root)]
    texts.append(_read(root / "memory" / "memory.limit_in_bytes"))
    limits = [int(text) for text in texts if text.isdecimal()]
    return min((limit for limit in limits if limit < _UNLIMITED), default=None)


def cpu_limit(root: Path = _ROOT) -> float | None:
    """Return the limit of processor time in cores, which may be fractional; None if there is none.

    Args:
        root: Where the control groups are mounted.
    """
    pairs = [_read(folder / "cpu.max").split() for folder in _own_folders(root)]
    pairs.append([_read(root / "cpu" / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")])
    shares = [int(pair[0]) / int(pair[1]) for pair in pairs if len(pair) == 2 and all(t.isdecimal() for t in pair)]
    return min(shares, default=None)


def _own_folders(root: Path) -> list[Path]:
    """Return the folder of this process's group and those above it, each of which may set a limit."""
    line = next((line for line in _read(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::/")), "0::/")
    group = root / line.removeprefix("0::/")
    return [group, *(folder for folder in group.parents if folder == root or root in folder.parents)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
