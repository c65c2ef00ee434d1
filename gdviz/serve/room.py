"""A full room is polite: who finds no seat waits in line, and is let in when one is free."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

SEAT = 80_000_000
"""Bytes to count with for one visitor's kernel: what one measures, and a third more."""
RESERVE = 1_000_000_000
"""Bytes for the server, the warm process and the system."""
DOOR = 1
"""Pages that open at a time, for each core: more would take longer and hold up those inside."""
AGAIN = 4
"""Seconds after which a page in the line asks again."""
PATIENCE = 15.0
"""Seconds after which a visitor who has not asked again has left."""
CALM = 10.0
"""Seconds for which no page opens for an address whose page was shown out."""
CGROUP, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class Room:
    """Seats and a line, in the order in which visitors came.

    Parameters
    ----------
    seats
        How many kernels may live.
    taken
        Says how many do.
    patience
        Seconds after which a visitor who has not asked again has left the line.
    door
        How many pages open at a time. Everybody else who has a seat waits at `door`, a semaphore,
        with the first picture before them.
    """

    def __init__(
        self,
        seats: int,
        taken: Callable[[], int],
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        door: int = 1000,
    ) -> None:
        self.seats, self._taken, self._patience, self._clock = seats, taken, patience, clock
        self.door = asyncio.Semaphore(door)
        self._line: OrderedDict[str, float] = OrderedDict()
        self._coming: set[object] = set()
        self._calm: dict[str, float] = {}

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        self._forget()
        return len(self._line)

    @property
    def free(self) -> int:
        """How many seats are free."""
        return max(self.seats - self._taken() - len(self._coming), 0)

    def enter(self, ticket: str) -> int:
        """Return 0 if the visitor with this ticket may come in, else their place in the line."""
        self._line[ticket] = self._clock()
        self._forget()
        place = list(self._line).index(ticket) + 1
        if place > self.free:
            return place
        del self._line[ticket]
        return 0

    @contextmanager
    def arrival(self) -> Iterator[Callable[[], None]]:
        """Keep a seat until the visitor's kernel lives, told by calling what is given."""
        visitor = object()
        self._coming.add(visitor)
        try:
            yield lambda: self._coming.discard(visitor)
        finally:
            self._coming.discard(visitor)

    def show_out(self, address: str) -> None:
        """Note that a page of this address has sent too much: opening pages costs the others most.

        It holds for an address, as who is hostile keeps no cookie. A class that shares one with
        somebody hostile opens its pages a little later.
        """
        now = self._clock()
        self._calm = {one: until for one, until in self._calm.items() if until > now}
        self._calm[address] = now + CALM

    def calm(self, address: str) -> float:
        """Seconds that an arrival from this address has to wait."""
        return max(self._calm.get(address, 0.0) - self._clock(), 0.0)

    def _forget(self) -> None:
        late = self._clock() - self._patience
        for ticket in [ticket for ticket, seen in self._line.items() if seen < late]:
            del self._line[ticket]


def seats() -> int:
    """Return how many kernels the memory of this machine, or of our share of it, has room for."""
    return max(int((_memory() - RESERVE) // SEAT), 1)


def _memory() -> int:
    """Bytes that are free, of the machine or of the container or service that we are."""
    free = int(psutil.virtual_memory().available)
    try:
        group = CGROUP / OWN.read_text().rpartition("0::/")[2].strip()
        most = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # there is no limit
        return free
    return min(free, most - used)
