"""Two steps of work on one stream, side by side, without a file between them. Hot-safe."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def piped(produce: Callable[[BinaryIO], object]) -> Iterator[BinaryIO]:
    """Give a reader, a real file, of what produce writes meanwhile in a thread of its own.

    Whoever fails first is heard: an error of produce is raised at the end of the block, in place of what the block
    raises because its input ends early; what is raised by a block that stops reading before the end is left as it is.
    """
    # Here, because most hot programs never need it.
    import threading

    read_end, write_end = os.pipe()
    errors: list[BaseException] = []
    is_over = threading.Event()

    def work(writer: BinaryIO) -> None:
        try:
            with writer:
                try:
                    produce(cast("BinaryIO", _Refusing(writer, is_over)))
                    writer.flush()
                except BaseException as error:  # noqa: BLE001  whoever reads raises it
                    # Before the file is closed: whoever sees the end can see this, too.
                    errors.append(error)
        except OSError:
            # What was left in its buffer: nobody reads any more, or it was told above.
            pass

    with open(read_end, "rb", buffering=0) as reader:
        thread = threading.Thread(target=work, args=(open(write_end, "wb"),), name="pipe")  # noqa: SIM115  it closes it
        thread.start()
        try:
            yield cast("BinaryIO", reader)
        except BaseException as error:
            if errors and isinstance(error, Exception):
                raise errors[0] from error
            raise
        else:
            _drain(reader, errors)
        finally:
            is_over.set()
            reader.close()
            thread.join()
    if errors:
        raise errors[0]


def _drain(reader: BinaryIO, errors: list[BaseException]) -> None:
    """Read to the end, so that the other side can end, too, and its errors are known."""
    while not errors and not reader.closed and reader.read(1 << 16):
        pass


class _Refusing:
    """A file that refuses to be written once nobody reads any more."""

    def __init__(self, file: BinaryIO, is_over: object) -> None:
        self._file = file
        self._is_over = is_over

    def write(self, data: bytes | memoryview, /) -> int:
        if self._is_over.is_set():  # type: ignore[attr-defined]
            raise BrokenPipeError
        return self._file.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)
