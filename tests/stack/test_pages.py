"""Sessions of pages that need a Jaeger print what the pages show."""

import socket

import pytest

from support import pages, pictures

PAGES = sorted({page for page in pages.PAGES for block in pages.blocks_of(page) if block.mark == "jaeger"})


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", PAGES)
def test_a_session_with_jaeger_prints_what_the_page_shows(page, addresses, jaeger):
    for port in (16686, 9090):  # the page shows a machine on which nothing answers there
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"something of this machine answers on port {port}")

    sessions = pages.sessions_of(pictures.place_with_jaeger(page, jaeger, addresses.url("jaeger:4318")), "jaeger")

    assert sessions
    for block, outcomes in sessions.items():
        for (_, shown), (command, printed, code) in zip(pages.commands_of(block), outcomes, strict=True):
            assert pages.without_changes(printed) == pages.without_changes(shown), f"{block}: {command}"
            assert code == 0, f"{block}: {command}: {printed}"
