"""Long options may be shortened to any unique prefix; this spells them out before click looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def expand(command: click.Command, context: click.Context, arguments: Sequence[str]) -> list[str]:
    """arguments with every abbreviated long option of command written in full. click.UsageError if it is ambiguous.

    Option values, everything after `--`, and what is not an option of command stay as they are.
    """
    options = {
        text: parameter
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        for text in (*parameter.opts, *parameter.secondary_opts)
    }
    expanded: list[str] = []
    waiting = list(reversed(arguments))
    interspersed = context.allow_interspersed_args if context.command is command else command.allow_interspersed_args
    while waiting:
        argument = waiting.pop()
        if argument == "--" or (not interspersed and not _is_option(argument)):
            return [*expanded, argument, *reversed(waiting)]
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            name = _in_full(name, options, context)
            expanded.append(name + equals + value)
            takes_next = not equals and _takes_value(options.get(name))
        else:
            expanded.append(argument)
            takes_next = _is_option(argument) and _cluster_wants_value(argument, options)
        if takes_next and waiting:
            expanded.append(waiting.pop())
    return expanded


def _is_option(argument: str) -> bool:
    return argument.startswith("-") and argument != "-"


def _in_full(name: str, options: Mapping[str, click.Option], context: click.Context) -> str:
    if name in options:
        return name
    matches = [text for text in options if text.startswith(name)]
    if len({id(options[text]) for text in matches}) > 1 or _means_both(matches, options):
        raise click.UsageError(f"ambiguous option: {name} could match {', '.join(sorted(matches))}", context)
    return matches[0] if matches else name


def _means_both(matches: Sequence[str], options: Mapping[str, click.Option]) -> bool:
    """Whether the matches hold both the on and the off spelling of one flag."""
    secondary = [text for text in matches if text in options[text].secondary_opts]
    return 0 < len(secondary) < len(matches)


def _takes_value(option: click.Option | None) -> bool:
    # click has no public word for "the value may be missing"; such an option takes a plain word, which stays as it is.
    return (
        option is not None
        and not option.is_flag
        and not option.count
        and not getattr(option, "_flag_needs_value", False)
    )


def _cluster_wants_value(cluster: str, options: Mapping[str, click.Option]) -> bool:
    """Whether the last letter of -abc is an option whose value is the next argument."""
    for position, letter in enumerate(cluster[1:], start=1):
        if _takes_value(options.get(f"-{letter}")):
            return position == len(cluster) - 1
    return False
