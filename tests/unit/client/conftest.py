"""An ssh that connects to this host, to the barman of this checkout."""

from __future__ import annotations

import os

import pytest

from tests.support.wire import Site


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Site(tmp_path)
