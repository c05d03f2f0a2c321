"""Imports on systems that lack what only POSIX has, as Windows."""

import os
import subprocess
import sys

import pytest
from helpers.paths import REPOSITORY

# Third-party packages have Windows versions of their own, so they are imported before anything is hidden.
_CODE = """
import os, pkgutil, signal, sys
from importlib import import_module
for name in ("torch", "numba", "zarr", "trimesh", "igl", "skimage.measure", "h5py", "psutil", "manifold3d", "tyro",
             "scipy.spatial", "rich.console", "concurrent.futures.process", "multiprocessing.connection"):
    import_module(name)
for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "geteuid", "getppid", "killpg", "setsid", "sched_getaffinity", "uname",
             "mkfifo", "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK", "WNOHANG", "statvfs", "fchmod", "chown"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "SIGCHLD", "alarm", "setitimer"):
    delattr(signal, name)
import latentsdf, preprocessing
count = 0
for package in (latentsdf, preprocessing):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
            count += 1
print(count)
from latentsdf.cli import main
sys.exit(main(["info", sys.argv[1]]))
"""


@pytest.mark.slow
def test_every_module(store_path: os.PathLike[str]) -> None:
    """Every module is imported, and a store is read, without modules, functions and flags that Windows lacks."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", _CODE, str(store_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200
