"""Hostile visitors: each opens a lab's page, as anybody may, and sends what nobody should.

    python benchmarks/hostile.py URL [--clients 2] [--seconds 30]

They have a process of their own, of the lowest priority: who attacks a server brings a machine
along, and only what the server makes of it is to be measured. Prints as JSON how many messages
of each kind were sent, how often a visitor was thrown out (each comes again), and under `harm`
how often a server did what none should: run their code, or tell of its inside.
"""

import asyncio
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from student import Student, message

PAUSE = 0.05
"""Seconds between two bursts of a visitor."""
AGAIN = 1.0
"""Seconds until one who was thrown out comes again."""
FLOOD = 3000
"""Messages of a flood, as fast as they go."""
HOSTILE = "being hostile"
MARK = "hostile-was-here"
CODE = f"print({MARK[:7]!r} + {MARK[7:]!r})"
"""It writes the mark and does not contain it."""
HARM = {
    MARK.encode(): "a visitor's code was run",
    b"Traceback (most": "a traceback was shown",
    b"site-packages": "a path was shown",
}

Frame = bytes | str
Kind = Callable[["Vandal"], Iterator[Frame]]


class Vandal(Student):
    """One hostile visitor; counts what was sent, by its kind, and harm that was done."""

    def __init__(
        self, url: str, number: int, kinds: Sequence[Kind], sent: Counter[str], harm: Counter[str]
    ) -> None:
        super().__init__(url, number=number)
        self.kinds, self.sent, self.harm = kinds, sent, harm

    def hear(self, data: bytes) -> None:
        """Look at a message for what should not be in one."""
        super().hear(data)
        for sign, what in HARM.items():
            if sign in data:
                self.harm[what] += 1

    async def stay(self, seconds: float, every: float) -> None:
        """Send bursts of one kind after the other, at random, while the socket is open."""
        self.doing = HOSTILE
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            kind = self.chance.choice(self.kinds)
            for frame in kind(self):
                text = isinstance(frame, str)
                await (self.socket.send_str if text else self.socket.send_bytes)(frame)
                self.sent[kind.__name__] += 1
            await asyncio.sleep(PAUSE)

    def telling(self, data: Any, name: str | None = None) -> bytes:
        """A message to a widget: to the slider, unless told."""
        content = {"comm_id": self.slider if name is None else name, "data": data}
        return message("comm_msg", content, self.session)

    def setting(self, **state: Any) -> bytes:
        """A message that changes the state of the slider."""
        return self.telling({"method": "update", "state": state, "buffer_paths": []})


# --- what they send ---------------------------------------------------------------------------


def values(vandal: Vandal) -> Iterator[Frame]:
    """Values that no slider has."""
    trait = vandal.trait
    for value in (float("nan"), float("inf"), 10**30, -(10**30), -1, 1e308, "x", None, [], {}):
        yield vandal.setting(**{trait: value})
    yield vandal.setting(min=0, max=10**9, **{trait: 7 * 10**8})
    yield vandal.setting(_options_labels=[str(i) for i in range(1000)], index=999)
    yield vandal.setting(_model_name="x", _view_module="y", layout="IPY_MODEL_nothing")


def shapes(vandal: Vandal) -> Iterator[Frame]:
    """Contents that are none."""
    for data in (None, [], 1, "x", {}, {"method": "x"}, {"method": "update"},
                 {"method": "update", "state": 1}, {"method": "custom", "content": [[]]},
                 {"method": "update", "state": {}, "buffer_paths": [["x", 9]]}):  # fmt: skip
        yield vandal.telling(data)
    for kind in ("comm_msg", "comm_open", "comm_close", "nothing", ""):
        yield message(kind, {}, vandal.session)


def strangers(vandal: Vandal) -> Iterator[Frame]:
    """Messages to widgets that are not there."""
    for _ in range(200):
        yield vandal.telling({"method": "update", "state": {"value": 1}}, uuid.uuid4().hex)


def widgets(vandal: Vandal) -> Iterator[Frame]:
    """Widgets that the page does not have, and comms for anything."""
    for number in range(100):
        model = ("IntSlider", "HTML", "Output", "Image")[number % 4]
        state = {"_model_module": "@jupyter-widgets/controls", "_model_name": f"{model}Model"}
        data = {"state": state, "buffer_paths": []}
        target = "jupyter.widget" if number % 10 else uuid.uuid4().hex
        content = {"comm_id": uuid.uuid4().hex, "target_name": target, "data": data}
        yield message("comm_open", content, vandal.session)


def states(vandal: Vandal) -> Iterator[Frame]:
    """The dearest question that a page may ask, often."""
    for _ in range(50):
        yield vandal.telling({"method": "request_states"}, uuid.uuid4().hex)
        yield vandal.telling({"method": "request_state"})


def code(vandal: Vandal) -> Iterator[Frame]:
    """Requests to run code, and whatever else a notebook may ask of a kernel."""
    for channel in ("shell", "control", "stdin", "iopub", "nothing"):
        request = {"code": CODE, "silent": False, "allow_stdin": True, "store_history": False}
        for kind in ("execute_request", "inspect_request", "complete_request", "debug_request"):
            yield message(kind, request, vandal.session, channel=channel)
        yield message("shutdown_request", {"restart": True}, vandal.session, channel=channel)
        yield message("input_reply", {"value": CODE}, vandal.session, channel=channel)


def giants(vandal: Vandal) -> Iterator[Frame]:
    """Long strings, deep lists, and many of both."""
    yield vandal.setting(description="x" * 90_000)
    yield vandal.setting(description="x" * 5_000_000)
    yield vandal.telling({"method": "custom", "content": {"kind": "y" * 1_000_000}})
    text, depth = b'"' + b"x" * 80_000 + b'"', 40_001
    yield vandal.setting(value="x" * 80_000).replace(text, b"[" * depth + b"]" * depth)


def rubbish(vandal: Vandal) -> Iterator[Frame]:
    """Frames that are no messages."""
    yield from (b"", "", "{}", "[]", "null", "x" * 1000, b"\xff" * 8, b"\x00" * 1000)
    for length in (1, 7, 8, 9, 100, 5000):
        yield vandal.chance.randbytes(length)
    whole = vandal.setting(value=1)
    for cut in (10, 50, 100, 200):
        yield whole[:cut]
        yield whole[:cut] + vandal.chance.randbytes(50) + whole[cut:]


def flood(vandal: Vandal) -> Iterator[Frame]:
    """Changes as fast as they go."""
    for number in range(FLOOD):
        yield vandal.setting(**{vandal.trait: number % 7})


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (values, shapes, strangers, widgets, states, code, giants, rubbish, flood)
}


# --- the process ------------------------------------------------------------------------------


@click.command()
@click.argument("url")
@click.option("--clients", default=2, show_default=True, type=click.IntRange(1, 50))
@click.option("--seconds", default=30.0, show_default=True, type=click.FloatRange(1, 7200))
@click.option("--only", type=click.Choice([*KINDS]), help="Send messages of one kind.")
def main(url: str, clients: int, seconds: float, only: str | None) -> None:
    """Be hostile to the page of a lab."""
    kinds = [KINDS[only]] if only else [*KINDS.values()]
    os.nice(19)
    sent, harm, failures = Counter[str](), Counter[str](), Counter[str]()

    async def attack(number: int) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            vandal = Vandal(url, number, kinds, sent, harm)
            await vandal.attend(left, 0)
            failures.update(vandal.failures)
            number += clients
            await asyncio.sleep(AGAIN)

    async def attack_all() -> None:
        await asyncio.gather(*(attack(number) for number in range(clients)))

    asyncio.run(attack_all())
    out = sum(count for kind, count in failures.items() if kind.startswith(HOSTILE))
    print(json.dumps({"sent": sent, "harm": harm, "thrown out": out, "failures": failures}))


if __name__ == "__main__":
    main()
