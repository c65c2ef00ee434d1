"""A wire to a server: its delay can be set, and the bytes on its websockets are counted.

A browser's own throttling leaves websockets alone, and only here is compression counted.
"""

import asyncio
import threading
import time

HERE = "127.0.0.1"


class Wire:
    """A TCP proxy on a thread of its own; `port` is where it listens.

    `delay` is in seconds, for each direction, and may be changed while connections are open.
    """

    def __init__(self, server_port: int) -> None:
        self.delay = 0.0
        self.bytes = 0
        self.port = 0
        self._server_port = server_port
        self._ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True).start()
        self._ready.wait(10)

    def settle(self) -> None:
        """Wait until nothing has been on the wire for a while."""
        seen, since = self.bytes, time.monotonic()
        while time.monotonic() - since < 0.15 + 3 * self.delay:
            time.sleep(0.01)
            if self.bytes != seen:
                seen, since = self.bytes, time.monotonic()

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._connect, HERE, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connect(self, up: asyncio.StreamReader, down: asyncio.StreamWriter) -> None:
        request = await up.readuntil(b"\r\n\r\n")
        websocket = b"upgrade: websocket" in request.lower()
        reader, writer = await asyncio.open_connection(HERE, self._server_port)
        writer.write(request)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(up, writer, websocket))
                group.create_task(self._carry(reader, down, websocket))
        except* OSError:  # a page that is left drops its connections
            pass

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, counted: bool
    ) -> None:
        """Hand on what comes, each piece `delay` after it came and in its order."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        deliver = asyncio.create_task(self._deliver(queue, target))
        data = b"-"
        while data:
            data = await source.read(1 << 18)
            self.bytes += len(data) * counted
            queue.put_nowait((time.monotonic() + self.delay, data))
        await deliver

    async def _deliver(
        self, queue: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await queue.get()
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if not data:
                target.close()
                return
            target.write(data)
            await target.drain()
