"""A room with few seats."""

import asyncio

import pytest
from apart import apart

from gdviz.serve import room
from gdviz.serve.room import Room


class House:
    """A room whose kernels and clock are a test's."""

    def __init__(self, seats):
        self.kernels, self.now = 0, 0.0
        self.room = Room(seats, lambda: self.kernels, patience=30, clock=lambda: self.now)

    def enter(self, *tickets):
        return [self.room.enter(ticket) for ticket in tickets]


def test_while_there_are_seats_nobody_waits():
    house = House(2)
    assert house.enter("a") == [0]
    house.kernels = 1
    assert house.enter("b") == [0]
    assert house.room.waiting == 0


def test_who_comes_later_stands_behind_and_is_let_in_in_turn():
    house = House(1)
    house.kernels = 1
    assert house.enter("a", "b", "c") == [1, 2, 3]
    house.kernels = 0
    assert house.enter("c", "b") == [3, 2]  # asking first does not help
    assert house.enter("a") == [0]
    house.kernels = 1
    assert house.enter("b", "c") == [1, 2]


def test_several_seats_let_several_in():
    house = House(3)
    house.kernels = 3
    assert house.enter("a", "b", "c") == [1, 2, 3]
    house.kernels = 1
    assert house.enter("b") == [0]
    house.kernels = 2
    assert house.enter("c") == [2]
    assert house.enter("a") == [0]


def test_who_does_not_ask_again_has_left():
    house = House(1)
    house.kernels = 1
    assert house.enter("a", "b") == [1, 2]
    house.now = 20
    assert house.enter("b") == [2]
    house.now = 40
    assert house.enter("b") == [1]
    assert house.room.waiting == 1


def test_a_visitor_on_the_way_has_a_seat():
    house = House(1)
    with house.room.arrival():
        assert house.room.free == 0
        assert house.enter("b") == [1]
    assert house.enter("b") == [0]


def test_the_door_lets_so_many_through_at_a_time_and_in_their_order():
    through = []

    async def come(room, name, leave):
        async with room.door:
            through.append(name)
            await leave.wait()

    async def morning():
        room, leaves = Room(100, lambda: 0, door=2), [asyncio.Event() for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            for name, leave in zip("abcd", leaves, strict=True):
                group.create_task(come(room, name, leave))
            for leave, expected in zip(
                (*leaves[1::-1], *leaves[2:]), ("ab", "abc", "abcd", "abcd"), strict=True
            ):
                await asyncio.sleep(0.02)
                assert "".join(through) == expected
                leave.set()

    apart(morning())


def test_more_kernels_than_seats_are_no_free_seats():
    house = House(1)
    house.kernels = 3
    assert house.room.free == 0


@pytest.mark.parametrize(
    ("most", "used", "expected"),
    [("max", "5", 62), ("3000000000", "1000000000", 12), ("500000000", "400000000", 1)],
)
def test_seats_follow_from_the_memory_of_the_machine_or_of_the_container(
    monkeypatch, tmp_path, most, used, expected
):
    (tmp_path / "memory.max").write_text(most + "\n")
    (tmp_path / "memory.current").write_text(used + "\n")
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    monkeypatch.setattr(room, "OWN", tmp_path / "own")
    free = type("Memory", (), {"available": 6_000_000_000})
    monkeypatch.setattr(room.psutil, "virtual_memory", lambda: free)
    assert room.seats() == expected


def test_a_service_has_the_memory_of_its_own_group(monkeypatch, tmp_path):
    (tmp_path / "own").write_text("4:memory:/old\n0::/system.slice/gdviz.service\n")
    group = tmp_path / "system.slice" / "gdviz.service"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("3000000000\n")
    (group / "memory.current").write_text("1000000000\n")
    monkeypatch.setattr(room, "CGROUP", tmp_path)
    monkeypatch.setattr(room, "OWN", tmp_path / "own")
    assert room.seats() == 12


def test_an_address_whose_page_was_shown_out_waits_a_while():
    house = House(9)
    house.room.show_out("1.2.3.4")
    house.now = 4
    assert house.room.calm("1.2.3.4") == room.CALM - 4
    assert house.room.calm("1.2.3.5") == 0
    house.room.show_out("1.2.3.4")  # again: from now on, and no longer
    assert house.room.calm("1.2.3.4") == room.CALM
    house.now = 100
    assert house.room.calm("1.2.3.4") == 0
    house.room.show_out("1.2.3.5")  # nobody is remembered for ever
    assert list(house.room._calm) == ["1.2.3.5"]
