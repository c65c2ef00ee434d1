"""Coroutines in a test: Playwright's own loop may run on the test's thread."""

import asyncio
from concurrent.futures import ThreadPoolExecutor


def apart(coroutine):
    """Run a coroutine on a thread and a loop of its own, and return its result."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
