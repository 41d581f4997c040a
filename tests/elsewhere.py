"""What Windows and macOS lack, taken away from a process and from the workers that it spawns."""

import os
from pathlib import Path

# Imported by every process that has its folder on PYTHONPATH, before anything else. Libraries that were built
# for this system need what theirs for another do not: our own code alone is kept from /proc and from modules.
SITE = """
import builtins, io, os, signal, sys, warnings

for name in ("fork", "forkpty", "sched_getaffinity", "getloadavg",
             "pread", "pwrite", "mkfifo", "setsid", "killpg", "O_NOFOLLOW"):
    delattr(os, name)
if hasattr(os, "process_cpu_count"):  # Python 3.13, which defines it by sched_getaffinity where that is
    os.process_cpu_count = os.cpu_count
for name in ("pthread_sigmask", "pthread_kill", "SIGHUP", "alarm"):
    delattr(signal, name)

imported, opened = builtins.__import__, io.open

def without_modules(name, globals=None, *rest, **more):
    if name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog") and (
        str((globals or {}).get("__name__", "")).startswith(("lincorr", "pipeline"))
    ):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return imported(name, globals, *rest, **more)

def without_proc(file, *rest, **more):
    if isinstance(file, (str, os.PathLike)) and str(file).startswith(("/proc", "/sys")):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return opened(file, *rest, **more)

def without_symlinks(*_, **__):
    raise OSError("[WinError 1314] A required privilege is not held by the client")

builtins.__import__, io.open, os.symlink = without_modules, without_proc, without_symlinks
import multiprocessing.resource_tracker as tracker

def without_tracker():
    raise ModuleNotFoundError("No module named '_posixsubprocess'")

tracker.ensure_running = without_tracker
warnings.filterwarnings("error", category=EncodingWarning, module=r"(lincorr|pipeline)\\b")
"""


def environment(folder: Path) -> dict[str, str]:
    """Return this environment for a process without what others lack; its files go into `folder`."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE)
    paths = [str(folder), os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[1])]
    changed = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONIOENCODING": "cp1252",  # a console of Windows
        "PYTHONWARNDEFAULTENCODING": "1",  # a file's encoding must be said: it is not UTF-8 there
    }
    return os.environ | changed
