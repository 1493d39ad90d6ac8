"""What an option is: a row of the table in options. Pure and hot-safe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from barman.config.values import Kind, Value


class Option(NamedTuple):
    """One option.

    scopes: where it counts: "B" the [barman] section only; otherwise letters of "GSM": G [barman], inherited by
    every server; S a server section; M a model section. default: the value when nothing sets it; for directories
    derived from others it is None and default_text tells the rule. deprecated: what to use instead.
    """

    name: str
    scopes: str
    kind: Kind
    default: Value
    help: str
    default_text: str = ""
    deprecated: str = ""
