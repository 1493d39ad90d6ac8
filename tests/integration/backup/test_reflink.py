"""Backups whose changed files share with the previous backup what has not changed."""

from __future__ import annotations

import hashlib
import os
import shutil

import pytest

from barman.host import reflink
from tests.support import file_systems
from tests.support.sharing import change_pages, fill_with_pages
from tests.support.users import give

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")

MIB = 1 << 20
BIG = 64 * MIB


@pytest.fixture(params=["xfs"])
def big_home(request, home, scratch):
    """A home on a file system where files can share blocks."""
    if not file_systems.is_possible(request.param):
        pytest.skip(f"{request.param} cannot be mounted here")
    with file_systems.mounted(request.param, home.path, scratch / "image", 1024):
        yield home


def _prepared(server, cluster):
    """A cluster with a large file that nobody but us writes to, and WAL in the archive."""
    directory = cluster.data / "base" / "bench"
    directory.mkdir()
    (directory / "big").write_bytes(os.urandom(BIG))
    for path in (directory, directory / "big"):
        give(path)
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    return directory / "big"


def _change(path, blocks):
    with path.open("r+b") as file:
        for number in range(blocks):
            file.seek((number * 97 * 8192) % BIG)
            file.write(os.urandom(8192))


def _digests(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize(("big_home", "way"), [("xfs", "ssh"), ("btrfs", "local")], indirect=["big_home"])
def test_a_changed_file_costs_its_changed_blocks_and_earlier_backups_stay_as_they_are(way, big_home, cluster, request):
    ssh = request.getfixturevalue("sshd").command if way == "ssh" else None
    server = big_home.copying(cluster, ssh=ssh, reuse_backup="reflink", parallel_jobs=2)
    big = _prepared(server, cluster)
    first = server.backup("--wait")
    before = _digests(server.base / first)
    # 1 %
    _change(big, BIG // 8192 // 100)
    with cluster.loading(50):
        second = server.backup("--wait")
    copied = server.base / second / "data" / "base" / "bench" / "big"
    os.sync()
    assert BIG - reflink.shared_bytes(copied) < 0.05 * BIG
    assert copied.read_bytes() == big.read_bytes()
    assert not copied.samefile(server.base / first / "data" / "base" / "bench" / "big")
    assert copied.stat().st_mtime_ns == big.stat().st_mtime_ns
    assert _digests(server.base / first) == before
    shown = server.json("show-backup", second)["main"]["base_backup_information"]
    assert shown["resources_saved_bytes"] > 0.9 * BIG
    after = _digests(server.base / second)
    server.run("delete", first)
    assert _digests(server.base / second) == after


def test_a_cluster_of_which_one_page_in_a_hundred_changed_costs_little_more_than_these(home, cluster, scratch):
    if not file_systems.is_possible("xfs"):
        pytest.skip("xfs cannot be mounted here, so nobody looks at what shared blocks save")
    fill_with_pages(cluster, 128)
    disk = scratch / "disk"
    disk.mkdir()
    with file_systems.mounted("xfs", disk, scratch / "image", 1024):
        server = home.copying(cluster, reuse_backup="reflink", basebackups_directory=disk)
        server.start_streaming(cluster)
        server.close_and_archive(cluster)
        server.backup()
        assert change_pages(cluster, 100) > MIB
        before = file_systems.used_bytes(disk)
        server.backup()
        size = int(cluster.value("select sum(pg_database_size(oid))::bigint from pg_database"))
        assert file_systems.used_bytes(disk) - before < 0.05 * size


def test_a_reflinked_backup_can_be_restored_and_started(big_home, cluster, clusters, installation, scratch):
    cluster.load(3000)
    server = big_home.copying(cluster, reuse_backup="reflink")
    _prepared(server, cluster)
    server.backup("--wait")
    cluster.load(500)
    backup_id = server.backup("--wait")
    restored = clusters.recover(installation, server.restore(backup_id, scratch / "restored" / "data"), "recovered")
    assert restored.checksums() == cluster.checksums()


def test_elsewhere_it_works_as_link_and_says_so(home, cluster):
    server = home.copying(cluster)
    server.start_streaming(cluster)
    server.close_and_archive(cluster)
    first = server.backup("--wait")
    result = server.run("backup", "--reuse-backup", "reflink", "--wait")
    if "WARNING" not in result.stderr:
        pytest.skip("files can share blocks here")
    assert f"reuse_backup = reflink works as link: the file system of {server.base}" in result.stderr
    second = server.backup_ids()[-1]
    paths = [server.base / backup_id / "data" / "base" / "1" / "PG_VERSION" for backup_id in (first, second)]
    assert paths[0].samefile(paths[1])
