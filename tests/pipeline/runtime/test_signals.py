"""Commands that a signal ends."""

import signal
import subprocess
import sys

import pytest

from tests.processes import heed_interrupts

SIGNALLED = """
import os, signal, sys
import pipeline.__main__ as program

class Signal:  # comes while one module is imported
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), int(sys.argv[2]))

sys.meta_path.insert(0, Signal())
sys.exit(program.main(sys.argv[3:]))
"""


def ended(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that heeds Ctrl-C, also where these tests run in a shell's background."""
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=heed_interrupts)


@pytest.mark.parametrize("module", ["pipeline.cli.main", "numpy", "lincorr.relations.catalogue"])
@pytest.mark.parametrize(
    ("number", "word", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)],
)
def test_a_signal_is_one_line_wherever_it_comes(module: str, number: int, word: str, code: int) -> None:
    command = [sys.executable, "-c", SIGNALLED, module, str(int(number)), "relations", "list"]
    done = ended(*command)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines() == [
        f"error: {word}; what was done is stored, the same command resumes from there"
    ]


THRICE = """
import os, signal, sys
import pipeline.__main__ as program
import pipeline.cli.main as cli

def interrupted(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        print("closed", flush=True)  # the second one breaks nothing off
        os.kill(os.getpid(), signal.SIGINT)
        print("not reached", flush=True)

cli.app = interrupted
sys.exit(program.main())
"""


def test_the_third_interrupt_ends_a_run_at_once() -> None:
    done = ended(sys.executable, "-c", THRICE)
    assert (done.returncode, done.stdout) == (130, "closed\n")
    assert done.stderr.splitlines() == [
        "error: interrupted; what was done is stored, the same command resumes from there"
    ]
