"""Turns: of all the kernels on a machine, as many compute at a time as it has cores.

A kernel that `gdviz.serve` forked has a socket to its server: its life-line. The kernel asks for
a turn there and gives it back, and ends when the server does; while there are no more kernels
than cores, the server says that nobody needs to ask. Any other kernel computes when it likes.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ASK, LATE, GIVE = b"+", b".", b"-"
"""What a kernel says, followed by the number of its request: LATE asks to come after the others."""
FREE, TURNS = b"free", b"turns"
"""What a server says: that nobody needs to ask, and that everybody does from now on."""


class Free:
    """The turn of a kernel that shares its machine with nobody."""

    def take(self, timeout: float, late: bool = False) -> bool:
        """Have the turn at once."""
        return True

    def give(self) -> None:
        """Have nobody to give it to."""

    def wait(self, late: bool = False) -> None:
        """Have the turn, however long it takes to come."""
        while not self.take(1, late):
            pass

    @contextmanager
    def held(self, late: bool = False) -> Iterator[None]:
        """Have the turn for a while."""
        self.wait(late)
        try:
            yield
        finally:
            self.give()

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Have nobody to lend it to."""
        yield


class Turn(Free):
    """The turn of a kernel that waits for the others.

    It is the turn of all threads of the kernel: the first who takes it asks, the last who gives
    it gives it back. A request carries a number that its grant repeats: a grant that crosses with
    the end of its request on the way means nothing any more.
    """

    def __init__(self, life: socket.socket) -> None:
        self._life = life
        self._number = 0
        self._asked = self._lent = self._free = False
        self._granted = threading.Event()
        self._takers: set[int] = set()
        self._change = threading.Lock()
        threading.Thread(target=self._listen, name="gdviz-life", daemon=True).start()

    def take(self, timeout: float, late: bool = False) -> bool:
        """Ask for the turn, unless that has been done, and say whether it came in `timeout` s.

        Who is `late` comes after all who are not.
        """
        with self._change:
            if self._lent or (self._free and not self._asked):
                return True
            self._takers.add(threading.get_ident())
            if not self._asked:
                self._number = (self._number + 1) % 256
                self._granted.clear()
                self._asked = True
                self._send(LATE if late else ASK)
        return self._granted.wait(timeout)

    def give(self) -> None:
        """Give the turn back, or want it no more."""
        with self._change:
            self._takers.discard(threading.get_ident())
            if self._asked and not self._takers:
                self._asked = False
                self._send(GIVE)

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Let others compute while this kernel only waits for another machine."""
        self.give()
        self._lent = True
        try:
            yield
        finally:
            self._lent = False
            self.wait()

    def _send(self, what: bytes) -> None:
        try:
            self._life.send(what + bytes([self._number]))
        except OSError:
            os._exit(1)  # the server is gone

    def _listen(self) -> None:
        with suppress(OSError):  # the server may end with a request of ours unread
            while said := self._life.recv(16):
                self._hear(said)
        os._exit(1)

    def _hear(self, said: bytes) -> None:
        if said in (FREE, TURNS):
            self._free = said == FREE
        elif said[0] == self._number:
            self._granted.set()


mine: Free = Free()
"""The turn of this process; the warm process sets it in each kernel."""
