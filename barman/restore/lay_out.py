"""Laying out a backup on this host: its files, plain or out of tarballs, where they are wanted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from barman.host.transfer import copy_file
from barman.restore.exclusions import MANIFEST
from barman.restore.extract import extract_all
from barman.restore.fetch import copy_trees, data_route, whole_route

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from barman.host.transfer import Flow
    from barman.restore.fetch import Route
    from barman.restore.job import Job, Layout


def lay_out(job: Job, layout: Layout, flow: Flow, *, holds_back: bool = True) -> None:
    """Write a backup, without what has no place in a restored cluster; the directories for it are there.

    holds_back: the control file gets another name.
    """
    workers = job.settings.parallel_jobs
    if not layout.tarballs:
        copy_trees(trees(layout, holds_back=holds_back), workers=workers, flow=flow)
        return
    decryption = job.server.decryption
    ways = _routes(layout, holds_back=holds_back)
    extract_all(layout.source, layout.tarballs, ways, workers=workers, flow=flow, decryption=decryption)
    if (layout.source / MANIFEST).exists():
        copy_file(os.fspath(layout.source / MANIFEST), os.fspath(layout.data / MANIFEST), flow)


def trees(layout: Layout, *, holds_back: bool = True) -> list[tuple[Path, Route]]:
    """Return the directories of a plain backup, each with the way of what is in it."""
    ways = _routes(layout, holds_back=holds_back)
    # What was in place goes its way along with the data directory.
    outside = [place.oid for place in layout.places if not place.was_in_place]
    return [(layout.source, ways[None]), *((layout.origins[oid], ways[oid]) for oid in outside)]


def _routes(layout: Layout, *, holds_back: bool) -> Mapping[int | None, Route]:
    ways: dict[int | None, Route] = {None: data_route(layout.data, layout.places, holds_back=holds_back)}
    return ways | {place.oid: whole_route(place.location) for place in layout.places}
