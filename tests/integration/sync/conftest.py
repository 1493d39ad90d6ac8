"""A passive node and its primary, both ours."""

from __future__ import annotations

import pytest

from tests.support.archiving import archiving_server
from tests.support.passive import login_to, passive_server


@pytest.fixture
def primary(make_home):
    """A server without PostgreSQL."""
    return archiving_server(make_home("primary"))


@pytest.fixture
def sshd(primary):
    """A login to the primary's host."""
    running = login_to(primary.home)
    yield running
    running.close()


@pytest.fixture
def node(make_home, primary, made, sshd):
    """The passive node of a primary that has made."""
    return passive_server(make_home("passive"), primary, sshd)
