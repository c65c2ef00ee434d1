"""Students with a real browser: pages in Chromium, timed from within."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import perf_counter
from urllib.parse import urlsplit

from hosts import FLAGS, browser_path
from playwright.async_api import Browser, Error, Page, async_playwright

STOPWATCH = Path(__file__).with_name("stopwatch.js")
PATIENCE = 120_000
"""Milliseconds that a page may take to show its lab; a queue has no end."""


class BrowsingStudent:
    """A visitor of a lab like `student.Student`, at a page in a browser."""

    def __init__(self, url: str, browser: Browser, number: int = 0) -> None:
        self.url, self.browser = url, browser
        self.seen: dict[str, list[float]] = defaultdict(list)
        self.failures: Counter[str] = Counter()
        self.inside = False
        self.chance = Random(number)

    async def attend(self, seconds: float, every: float) -> None:
        """Come, move a slider `every` so many seconds for `seconds`, and leave."""
        try:
            async with visit(self.browser, self.url) as page:
                times = await page.evaluate("stopwatch.open('gdviz')")
                if times is None:
                    self.failures["browser: no lab"] += 1
                    return
                for name, value in times.items():
                    self.seen[f"browser, {name}"].append(value / 1000)
                self.inside = True
                await self.stay(page, seconds, every)
        except Error as error:
            self.failures[f"browser: {error.message.splitlines()[0]}"] += 1
        finally:
            self.inside = False

    async def stay(self, page: Page, seconds: float, every: float) -> None:
        """Move the slider at random times that are `every` apart on average."""
        end = perf_counter() + seconds
        while (pause := every * self.chance.uniform(0.5, 1.5)) < end - perf_counter():
            await page.wait_for_timeout(1000 * pause)
            took = await page.evaluate("stopwatch.slide('gdviz')")
            if took is None:
                self.failures["browser: no picture after a change"] += 1
            else:
                self.seen["browser, change"].append(took / 1000)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a headless Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def visit(browser: Browser, url: str) -> AsyncIterator[Page]:
    """Open a lab's page with an empty cache, after the queue if there is one; leave in the end."""
    async with await browser.new_context(viewport={"width": 1280, "height": 1400}) as context:
        await context.add_init_script(path=STOPWATCH)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        await page.goto(url, wait_until="commit")
        await page.wait_for_selector("body:not([data-gd-queue])", state="attached", timeout=0)
        yield page
        await page.goto("about:blank")  # leaving a page frees its kernel; closing one does not


async def files(url: str) -> list[str]:
    """The paths of all that a browser asks for besides a lab's page, in its order."""
    asked: list[str] = []
    async with chromium() as browser, await browser.new_context() as context:
        page = await context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(url, wait_until="commit")
        await page.wait_for_selector(".gd-stage[data-drawn]", timeout=PATIENCE)
        await page.goto("about:blank")
    paths = [one.partition(urlsplit(url).netloc)[2] for one in dict.fromkeys(asked)]
    return [path for path in paths if path.startswith(("/voila/static", "/voila/labextensions"))]
