"""Comparing a plain base backup with its manifest."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from barman.postgres.manifest import read_files
from tests.support.processes import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clusters import Cluster

_SEGMENTATION_FAULT = -11


def assert_backup_is_whole(cluster: Cluster, data: Path) -> None:
    """Assert that data holds every file of the manifest with its size and, if PostgreSQL's tool runs, content."""
    with (data / "backup_manifest").open(errors="surrogateescape") as manifest:
        listed = {file.path: file.size for file in read_files(manifest)}
    assert listed
    assert {path: size for path, size in listed.items() if _size(data / path) != size} == {}
    tool = cluster.installation.tools / "pg_verifybackup"
    # Without the WAL, which is in the archive.
    done = subprocess.run([tool, "-n", data], capture_output=True, text=True, check=False, env=environment())
    # The program of one build we test with crashes whatever it is given.
    assert done.returncode in (0, _SEGMENTATION_FAULT), done.stdout + done.stderr


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None
