"""The dashboard of one flow is about the flow that its reader chooses."""

import re

from otelflow.generate._dashboards import one_flow


def test_each_query_is_about_the_flow_that_is_chosen():
    board = one_flow("prometheus", "https://jaeger.example")

    queries = [target["expr"] for panel in board.panels for target in panel.get("targets", ())]
    selectors = [selector for query in queries for selector in re.findall(r"otelflow[\w:]*\{([^}]*)\}", query)]
    assert len(selectors) >= len(queries) > 5
    assert [selector for selector in selectors if 'flow="$flow"' not in selector] == []


def test_its_reader_chooses_job_and_flow_and_a_link_leads_back():
    board = one_flow("prometheus", "https://jaeger.example")

    names = [variable["name"] for variable in board.variables if not variable["hide"]]
    assert names == ["job", "flow"]
    assert [link["title"] for link in board.links] == ["All flows", "Traces"]
