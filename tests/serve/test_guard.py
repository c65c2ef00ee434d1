"""What passes between a page and its kernel."""

import json
import random
import tracemalloc
from unittest.mock import Mock, patch

import pytest
from jupyter_server.services.kernels.connection.base import serialize_msg_to_ws_v1

from gdviz.serve import guard
from gdviz.serve.guard import Bucket, Refused, price
from gdviz.serve.room import Room

TARGET = {"target_name": guard.CONTROL, "comm_id": "c", "data": {}}


def message(kind="comm_msg", content=None, channel="shell"):
    content = {"comm_id": "c", "data": {}} if content is None else content
    parts = [{"msg_type": kind, "msg_id": "m"}, {}, {}, content]
    return serialize_msg_to_ws_v1([json.dumps(part).encode() for part in parts], channel)


def test_what_a_page_sends_passes():
    assert price(message()) == 1
    assert price(message("kernel_info_request", {})) == 1
    assert price(message("comm_open", TARGET)) == guard.STATE


def test_asking_for_the_state_of_everything_costs_more():
    asking = {"comm_id": "c", "data": {"method": "request_states"}}
    assert price(message(content=asking)) == guard.STATE


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (message("execute_request", {"code": "1"}), "type"),
        (message("shutdown_request", {}), "type"),
        (message("comm_open", {"target_name": "jupyter.widget", "data": {}}), "comm"),
        (message("comm_open", {}), "comm"),
        (message(content={"data": {}}), "comm"),
        (message(content={"comm_id": 7, "data": {}}), "comm"),
        (message("comm_close", {"comm_id": "x" * 101}), "comm"),
        (message(channel="control"), "channel"),
        (message(channel="stdin"), "channel"),
        (message(content={"comm_id": "c", "data": "x" * guard.MOST_BYTES}), "size"),
        (message(content=[]), "form"),
        (message(kind=7), "type"),
        (b"", "form"),
        ("text", "form"),
        (b"\x06" + bytes(7), "form"),
        (b"\x06" + bytes(7) + b"\xff" * 200, "form"),
        (message(content="[" * 50_000), "form"),
    ],
)
def test_nothing_else_does(sent, why):
    with pytest.raises(Refused, match=f"^{why}$"):
        price(sent)


def test_deeply_nested_values_are_refused():
    deep = message().replace(b'{"comm_id": "c", "data": {}}', b"[" * 28)
    with pytest.raises(Refused):
        price(deep)


def test_a_message_that_claims_a_trillion_parts_takes_no_memory():
    tracemalloc.start()
    with pytest.raises(Refused):
        price((10**12).to_bytes(8, "little") + b"\x01" * 1000)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_who_sends_too_much_is_shown_out_and_the_room_hears_of_it():
    connection, room = object.__new__(guard.Connection), Room(9, lambda: 0)
    page = Mock(settings={"room": room})
    page.request.remote_ip = "1.2.3.4"
    empty = Mock(take=lambda cost: False)
    with patch.multiple(
        guard.Connection, websocket_handler=page, kernel_manager=Mock(gdviz_bucket=empty)
    ):
        connection.handle_incoming_message(b"no message at all")
        assert not room.calm("1.2.3.4")
        connection.handle_incoming_message(message())
    page.close.assert_called_once_with(1008, "too many messages")
    assert room.calm("1.2.3.4")


@pytest.mark.parametrize("is_open", [True, False])
def test_who_was_shown_out_is_not_heard(is_open):
    handler = object.__new__(guard.WebsocketHandler)
    handler.ws_connection = object() if is_open else None
    handler.connection = Mock()
    handler.on_message(message())
    assert handler.connection.handle_incoming_message.called == is_open


def test_who_was_shown_out_is_told_nothing(monkeypatch):
    monkeypatch.setattr(guard, "read_header_from_binary_message", pytest.fail)
    handler = object.__new__(guard.WebsocketHandler)
    handler.ws_connection = None
    assert handler.write_message(message()) is None


def test_whatever_is_sent_it_passes_or_is_refused():
    draw = random.Random(0)
    good = message("comm_open", TARGET)
    passed = 0
    for _ in range(20_000):
        bad = bytearray(good)
        for _ in range(draw.randint(1, 8)):
            match draw.randint(0, 2):
                case 0:
                    bad[draw.randrange(len(bad))] = draw.randrange(256)
                case 1:
                    del bad[draw.randrange(len(bad)) :]
                case 2:
                    bad += draw.randbytes(draw.randint(0, 50))
            bad = bad or bytearray(b"\0")
        try:
            price(bytes(bad))
            passed += 1
        except Refused:
            pass
    assert 0 < passed < 20_000


def test_a_bucket_holds_a_burst_and_fills_again(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    bucket = Bucket()
    assert sum(bucket.take(1) for _ in range(10_000)) == guard.BURST
    now[0] = 2.0
    assert sum(bucket.take(1) for _ in range(10_000)) == 2 * guard.RATE
    now[0] = 1e6
    assert sum(bucket.take(guard.STATE) for _ in range(10_000)) == guard.BURST / guard.STATE
