"""How the server does, in numbers: for `/health`, and for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gdviz.serve import guard
from gdviz.serve.kernels import WARM
from gdviz.serve.room import Room

REGISTRY = CollectorRegistry()
VISITS = Counter("gdviz_visits", "Pages of labs that were opened.", ["lab"], registry=REGISTRY)
QUEUED = Counter("gdviz_queued", "Answers that were a place in the line.", registry=REGISTRY)
CULLED = Counter("gdviz_culled", "Kernels that nobody used any more.", registry=REGISTRY)


def of_room(room: Room) -> dict[str, int]:
    """How full a room is, and how busy."""
    return {
        "kernels": room.seats - room.free,
        "limit": room.seats,
        "waiting": room.waiting,
        "computing": len(WARM.turns.computing),
        "queued_runs": len(WARM.turns.waiting),
    }


class _Now(Collector):
    """What is read off when somebody asks."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge for each number of the room, and the messages that did not pass."""
        for name, value in of_room(self._room).items():
            yield GaugeMetricFamily(f"gdviz_{name}", name.replace("_", " "), value)
        refused = CounterMetricFamily(
            "gdviz_refused_messages", "Messages of pages that did not pass.", labels=["reason"]
        )
        for reason, count in guard.dropped.items():
            refused.add_metric([reason], count)
        yield refused


def text(room: Room) -> bytes:
    """Return everything in Prometheus' text format."""
    now = CollectorRegistry()
    now.register(_Now(room))
    return generate_latest(REGISTRY) + generate_latest(now)
