"""A browser's life as a flow: start it, open a page, take a picture, print it as PDF, and close the browser again."""

import os
import shutil
from dataclasses import dataclass, field

from playwright.async_api import Browser, Page, Playwright, async_playwright

from otelflow import INJECTED, Flow, flow, task

# CHROMIUM, or the system's; without either, Playwright looks for its own (`playwright install chromium`).
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
TIMEOUT_MS = 15_000


@dataclass
class PagePdf:
    """One page, opened in a browser of its own."""

    url: str
    document: bytes = field(default=b"", init=False)
    playwright: Playwright | None = field(default=None, init=False)
    browser: Browser | None = field(default=None, init=False)

    @task
    async def start_browser(self) -> Browser:
        self.playwright = await async_playwright().start()
        # Chromium's sandbox needs rights that containers do not have: open only pages that you trust.
        self.browser = await self.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        print(f"Chromium {self.browser.version}")
        return self.browser

    @task
    async def open_page(self, browser: Browser) -> Page:
        page = await browser.new_page(viewport={"width": 800, "height": 600})
        answer = await page.goto(self.url, timeout=TIMEOUT_MS)
        if answer is None or not answer.ok:
            raise ConnectionError(f"{self.url} answers {answer.status if answer else 'nothing'}")
        return page

    @task
    async def take_screenshot(self, page: Page, this_flow: Flow[None] = INJECTED) -> None:
        picture = await page.screenshot(type="jpeg", quality=60)
        this_flow.add_flow_artifact(
            key="screenshot", description=await page.title(), data=picture, artifact_type="image"
        )

    @task
    async def print_pdf(self, page: Page) -> None:
        self.document = await page.pdf(format="A4", print_background=True)

    @task
    async def close_browser(self) -> None:
        if self.browser is not None:
            await self.browser.close()
        if self.playwright is not None:
            await self.playwright.stop()

    # What a flow returns stands in the trace; a document is too much for that, so it stays on the object.
    @flow(execute_on_call=True)
    async def print_page(self) -> None:
        try:
            page = await self.open_page(await self.start_browser())
            await self.take_screenshot(page)
            await self.print_pdf(page)
        finally:
            await self.close_browser()
