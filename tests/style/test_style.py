"""Format, lint and types, as scripts/check has them, so that the whole suite includes them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.places import PROJECT


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["ruff", "format", "--check", "."], id="format"),
        pytest.param(["ruff", "check", "--output-format=concise", "."], id="lint"),
        pytest.param(["mypy"], id="types"),
    ],
)
def test_the_tree_is_clean(words):
    ended = subprocess.run([sys.executable, "-m", *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
