"""Asking several things at once, and waiting no longer than so long for all of them."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from barman.errors import BarmanError
from barman.host.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_T = TypeVar("_T")
_Item = TypeVar("_Item")


class _Question(threading.Thread, Generic[_T]):
    """One call on a thread of its own. A daemon: what never answers must not keep the program from ending."""

    def __init__(self, ask: Callable[[], _T]) -> None:
        super().__init__(daemon=True)
        self._ask = ask
        self.answers: list[_T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.answers.append(self._ask())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the one who asked
            self.error = error


def ask_together(questions: Mapping[str, Callable[[], _T]], timeout_s: float | None) -> dict[str, _T]:
    """Call all functions at the same time; the answers by name, without those not known after timeout_s seconds.

    None waits as long as it takes. Raises what the first function that failed raised. Late answers are dropped.
    """
    deadline = None if timeout_s is None else monotonic() + timeout_s
    asked = {name: _Question(ask) for name, ask in questions.items()}
    for question in asked.values():
        question.start()
    answers = {}
    for name, question in asked.items():
        question.join(None if deadline is None else max(deadline - monotonic(), 0))
        if question.error is not None:
            raise question.error
        if question.answers:
            answers[name] = question.answers[0]
    return answers


def each_together(
    do: Callable[[_Item], _T], items: Sequence[_Item], *, at_most: int
) -> Iterator[tuple[_Item, _T | BarmanError]]:
    """Do something with all items, at most so many at the same time; yield them in order, each with what came of it.

    A BarmanError is an outcome like others; anything else is raised in its turn.
    """
    slots = threading.BoundedSemaphore(at_most)

    def do_in_turn(item: _Item) -> _T:
        with slots:
            return do(item)

    begun = [(item, _Question(partial(do_in_turn, item))) for item in items]
    for _, question in begun:
        question.start()
    for item, question in begun:
        question.join()
        if question.error is None:
            yield item, question.answers[0]
        elif isinstance(question.error, BarmanError):
            yield item, question.error
        else:
            raise question.error
