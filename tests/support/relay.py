"""A connection to PostgreSQL that is cut, again and again."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.clusters import Cluster


@contextlib.contextmanager
def relay_to(cluster: Cluster, directory: Path, cut_after: int) -> Iterator[tuple[Relay, str]]:
    """Yield a relay in front of cluster, and the conninfo for streaming over it. directory: a new one.

    cut_after: how many bytes come over a connection. No client may be left at the end of the block.
    """
    directory.mkdir()
    directory.chmod(0o755)
    name = f".s.PGSQL.{cluster.port}"
    relay = Relay(cluster.directory / name, directory / name, cut_after)
    try:
        yield relay, cluster.streaming_conninfo().replace(str(cluster.directory), str(directory), 1)
    finally:
        relay.close()


class Relay:
    """Stands between clients and a server's socket, and cuts each connection over which so many bytes came."""

    def __init__(self, server_socket: Path, own_socket: Path, cut_after: int) -> None:
        self._server_socket = str(server_socket)
        self._cut_after = cut_after
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(own_socket))
        own_socket.chmod(0o777)
        self._listener.listen()
        self.cuts = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """To be called when no client is left."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        left = self._cut_after
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server_socket)
            while ready := select.select([client, server], [], [])[0]:
                for source in ready:
                    data = b""
                    with contextlib.suppress(ConnectionResetError):
                        data = source.recv(65536)
                    left -= len(data) if source is server else 0
                    self.cuts += left < 0
                    if not data or left < 0:
                        return
                    with contextlib.suppress(BrokenPipeError):
                        (server if source is client else client).sendall(data)
