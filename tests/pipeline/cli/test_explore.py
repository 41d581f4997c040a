"""`lincorr explore`: what it opens, what it says, and how it ends."""

import signal
import subprocess
import sys
import urllib.request

import pytest


@pytest.mark.parametrize(
    ("at_first", "ends"),
    [(signal.SIG_DFL, signal.SIGINT), (signal.SIG_IGN, signal.SIGTERM)],
    ids=["ctrl-c", "kill, in a shell's background"],
)
def test_it_prints_one_line_and_a_signal_ends_it(finished, at_first, ends):
    """A shell starts what runs in its background deaf to Ctrl-C, which stays so."""
    command = [sys.executable, "-m", "pipeline", "explore", str(finished), "--other", str(finished)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, at_first),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(line.split()[0]) as answered:
        assert b"lincorr explore" in answered.read()
    process.send_signal(ends)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["none.zarr"], "none.zarr"),
        (["--store", "none.zarr"], "there is no store at 'none.zarr'"),
        (["--other", "none.zarr"], "there is no store at 'none.zarr'"),
        (["--host", "203.0.113.7"], "--host, --port: cannot listen on '203.0.113.7'"),
        (["--port", "70000"], "--port"),
    ],
)
def test_what_cannot_be_served_is_refused(arguments, why, refusal, with_store):
    own = [] if arguments[0] == "none.zarr" or "--store" in arguments else with_store
    assert why in refusal("explore", *arguments, *own)


def test_a_store_without_maps_is_refused(refusal, printed, flags):
    printed("extract", *flags)
    assert "has no map yet; run `lincorr fit` first" in refusal("explore", *flags)
