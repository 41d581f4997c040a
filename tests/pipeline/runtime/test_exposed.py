"""Who listens beyond this machine without a certificate is warned."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ClusterSettings
from pipeline.runtime.clusters.exposed import exposure_note

TLS = (Path("certificates"),)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"kind": "local"}, False),
        ({"kind": "local", "host": "127.0.0.1"}, False),
        ({"kind": "local", "host": "localhost"}, False),
        ({"kind": "local", "host": "::1"}, False),
        ({"kind": "local", "host": "0.0.0.0"}, True),
        ({"kind": "local", "host": "192.168.1.5"}, True),
        ({"kind": "local", "host": "0.0.0.0", "tls": TLS}, False),
        ({"kind": "gpus", "host": "node7"}, True),
        ({"kind": "ssh", "hosts": ("node1", "node2")}, True),
        ({"kind": "ssh", "hosts": ("localhost",)}, False),
        ({"kind": "slurm", "host": "login"}, True),
        ({"kind": "address", "address": "tcp://host:1"}, False),
        ({"kind": "serial"}, False),
    ],
    ids=str,
)
def test_a_scheduler_that_others_reach_is_told(settings: dict[str, Any], warned: bool) -> None:
    note = exposure_note(ClusterSettings(**settings))
    assert (note is not None) is warned
    assert note is None or "cluster.tls" in note
