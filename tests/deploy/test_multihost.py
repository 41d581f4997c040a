"""Workers on hosts of their own, one of which is cut off in mid-run: the same bits as on one host."""

import subprocess
import sys
from pathlib import Path

import pytest

MULTIHOST = Path(__file__).parents[2] / "deploy" / "multihost"


@pytest.fixture(scope="module")
def three_hosts() -> None:
    done = subprocess.run(
        [sys.executable, MULTIHOST / "three_hosts.py", "--check"], capture_output=True, text=True
    )
    if done.returncode == 2:
        pytest.skip(done.stderr.strip().removeprefix("error: "))


def spaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    return {line.split()[0] for line in listed.splitlines() if line.startswith("lincorr-")}


@pytest.mark.usefixtures("three_hosts")
def test_a_run_over_three_hosts_outlives_a_cut_cable(tmp_path):
    before = spaces()
    command = [sys.executable, str(MULTIHOST / "three_hosts.py"), str(tmp_path / "hosts")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cut at" in done.stdout
    assert "the lost one joined again" in done.stdout
    assert "every bit as in a run on one host" in done.stdout
    assert spaces() <= before
