"""What is measured: this implementation and, for comparison, Barman 3.19.1, on homes of the same make."""

from __future__ import annotations

import compileall
from typing import TYPE_CHECKING

from tests.support.homes import our_programs
from tests.support.places import PROJECT
from tests.support.reference import reference_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.bench.measure import Measured

OURS = "ours"
REFERENCE = "3.19.1"


def subjects(*, without_reference: bool) -> dict[str, Path]:
    """The directories of programs to compare, by name; without the reference when it is not wanted or not to be had."""
    # As installed: the user the programs run as could not keep what Python compiles.
    compileall.compile_dir(PROJECT / "barman", quiet=1)
    found = {OURS: our_programs()}
    reference = None if without_reference else reference_programs()
    if reference:
        found[REFERENCE] = reference
    return found


def compare(
    found: Mapping[str, Measured], figure: Callable[[Measured], float]
) -> tuple[float, float | str, float | str]:
    """One figure of ours, of the reference, and how many times smaller ours is; dashes where there is no reference."""
    ours = figure(found[OURS])
    if REFERENCE not in found:
        return ours, "-", "-"
    theirs = figure(found[REFERENCE])
    if found[REFERENCE].is_over:
        return ours, f"> {theirs:.0f}", f"> {theirs / ours:.0f}"
    return ours, theirs, theirs / ours
