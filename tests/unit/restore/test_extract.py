from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from barman.errors import CatalogError
from barman.host.transfer import Flow
from barman.progress import NoBar
from barman.restore.extract import extract, extract_all
from barman.restore.fetch import HELD_BACK, data_route, whole_route
from barman.restore.plan import Placement, Tarball

if TYPE_CHECKING:
    from pathlib import Path


def _tar(path: Path, *members: tuple[str, bytes | None], compress: bool = False, link: str | None = None) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = (0o700, 1000) if content is None else (0o640, 1000)
            member.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            member.size = len(content or b"")
            archive.addfile(member, io.BytesIO(content or b""))
        if link is not None:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
            archive.addfile(member)
    data = buffer.getvalue()
    path.write_bytes(gzip.compress(data) if compress else data)
    return path


@pytest.fixture
def target(tmp_path):
    directory = tmp_path / "target"
    directory.mkdir()
    return directory


@pytest.mark.parametrize("compress", [False, True])
def test_files_come_with_content_mode_and_time(compress, tmp_path, target):
    big = bytes(range(256)) * 20_000
    tarball = _tar(tmp_path / "x", ("base", None), ("base/1", big), ("./PG_VERSION", b"15\n"), compress=compress)

    extract(tarball, whole_route(target), Flow(NoBar()))

    assert (target / "base" / "1").read_bytes() == big
    assert (target / "PG_VERSION").stat().st_mode & 0o777 == 0o640
    assert (target / "PG_VERSION").stat().st_mtime == 1000


@pytest.mark.parametrize("compress", [False, True])
def test_a_tarball_cut_between_two_members_is_damaged(compress, tmp_path, target):
    whole = _tar(tmp_path / "x", ("1", b"a" * 512), ("2", b"b" * 512)).read_bytes()
    cut = whole[: 2 * 512]
    (tmp_path / "x").write_bytes(gzip.compress(cut) if compress else cut)
    with pytest.raises(CatalogError, match="x is damaged: it ends early"):
        extract(tmp_path / "x", whole_route(target), Flow(NoBar()))


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out"])
def test_a_name_that_leads_out_is_damage(name, tmp_path, target):
    tarball = _tar(tmp_path / "x", (name, b"evil"))
    with pytest.raises(CatalogError, match="x is damaged: unsafe"):
        extract(tarball, whole_route(target), Flow(NoBar()))
    assert not (tmp_path / "out").exists()


def test_links_are_left_out(tmp_path, target):
    extract(_tar(tmp_path / "x", ("a", b"1"), link="pg_tblspc/7"), whole_route(target), Flow(NoBar()))
    assert sorted(path.name for path in target.iterdir()) == ["a"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_tarball_that_ends_early_is_damage(compress, tmp_path, target):
    tarball = _tar(tmp_path / "x", ("a", bytes(100_000)), compress=compress)
    tarball.write_bytes(tarball.read_bytes()[: 60_000 if not compress else -10])
    with pytest.raises(CatalogError, match="x is damaged"):
        extract(tarball, whole_route(target), Flow(NoBar()))


def test_a_wrong_check_sum_at_the_end_is_damage(tmp_path, target):
    tarball = _tar(tmp_path / "x", ("a", bytes(100_000)), compress=True)
    data = bytearray(tarball.read_bytes())
    data[-6] ^= 1
    tarball.write_bytes(data)
    with pytest.raises(CatalogError):
        extract(tarball, whole_route(target), Flow(NoBar()))


def test_each_tarball_takes_its_way(tmp_path, target):
    _tar(
        tmp_path / "base.tar",
        ("global", None),
        ("global/pg_control", b"c"),
        ("tablespace_map", b"m"),
        ("standby.signal", b""),
        ("pg_wal", None),
        ("pg_wal/archive_status", None),
        ("pg_tblspc", None),
        ("pg_tblspc/9", None),
        ("pg_tblspc/9/PG_15", None),
        ("pg_tblspc/9/PG_15/1", b"in place"),
    )
    _tar(tmp_path / "7.tar", ("PG_15", None), ("PG_15/1", b"t"))
    cold, moved = tmp_path / "cold", tmp_path / "moved"
    cold.mkdir()
    moved.mkdir()
    placements = [Placement("cold", 7, cold, was_in_place=False), Placement("in", 9, moved, was_in_place=True)]
    routes = {None: data_route(target, placements), 7: whole_route(cold)}

    extract_all(
        tmp_path,
        [Tarball("base.tar", None), Tarball("7.tar", 7), Tarball("8.tar", 8)],
        routes,
        workers=2,
        flow=Flow(NoBar()),
    )

    assert (target / HELD_BACK).read_bytes() == b"c"
    assert (cold / "PG_15" / "1").read_bytes() == b"t"
    assert (moved / "PG_15" / "1").read_bytes() == b"in place"
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == [
        "global",
        HELD_BACK,
        "pg_tblspc",
        "pg_wal",
    ]


def test_names_that_are_too_long_for_a_header_come_whole(tmp_path, target):
    long = "d" * 90 + "/" + "f" * 120
    extract(_tar(tmp_path / "x", ("d" * 90, None), (long, b"1")), whole_route(target), Flow(NoBar()))
    assert (target / long).read_bytes() == b"1"


def test_a_member_of_an_unknown_kind_is_damage_rather_than_left_out(tmp_path, target):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("n" * 150))
    (tmp_path / "x").write_bytes(buffer.getvalue())
    with pytest.raises(CatalogError, match=r"x is damaged: a member of type b'L', which PostgreSQL never writes"):
        extract(tmp_path / "x", whole_route(target), Flow(NoBar()))
