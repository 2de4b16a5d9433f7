"""What an alert says: what to do, where its traces are, and every text of a user as it is."""

import importlib
import json
import random
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelflow import semconv
from otelflow.generate import generate_alerts
from otelflow.generate._rules.annotations import literal

# Each once broke, or could break, the whole file or the template that it stands in.
HOSTILE = [
    "https://runbooks/{",
    "{",
    "{{",
    "{{{",
    "}} {{ end }}",
    '{{ fail "executed" }}',
    '{{- "trimmed" -}}',
    "{{/* a comment */}}",
    "\"quoted\" \\ and 'quoted' {{",
    "two\nlines {{",
    " leading and trailing: # ",
    "yes",
    "1e3",
    "0x1F",
    "- item",
    "tab\t, bell\x07, separator\u2028, byte order mark\ufeff",
    "\U0001f680 {{ $labels.flow }}",
    "half a pair \ud83d",
]

NOISE = "{}\"'\\ \n\r\t$aé\u2028\ufeff.|*+?()[]^:#-&!%@`,\U0001f680"


def rules(text):
    """Return the names of the alerts in a rule file."""
    return [line.split("alert: ")[1] for line in text.splitlines() if "- alert: " in line]


def test_a_runbook_of_the_flow_takes_the_place_of_the_default_and_shows_its_braces(shop):
    text = generate_alerts([shop])

    assert 'if eq $labels.flow "orders" }}{{ "https://runbooks/orders?a={{x}}" }}{{ else }}' in text


def test_every_alert_says_what_to_do_and_those_of_flows_link_to_their_traces(shop):
    text = generate_alerts([shop], jaeger="https://jaeger.example/")

    count = len(rules(text))
    assert text.count("summary: ") == text.count("runbook: ") == text.count("description: ") == count
    assert text.count("severity: ") == count
    of_flows = [name for name in rules(text) if name.startswith("Flow")]
    unknown = {"FlowTelemetryDropped", "FlowListenerFails", "FlowNeverSucceeded"}
    assert text.count("traces: ") == sum(name not in unknown for name in of_flows)
    assert "https://jaeger.example/search?service=" in text
    assert "127.0.0.1" not in text


@pytest.mark.stack
def test_a_service_with_a_namespace_is_searched_in_jaeger_by_its_name(promtool, tmp_path):
    link = (
        "http://jaeger/search?service=billing&operation=flow%20month%2Bend&"
        "tags=%7B%22error%22%3A%22true%22%7D&lookback=2d&limit=20"
    )
    series = f'{semconv.FLOW_LAST_RUN}{{job="shop/billing",flow="month+end",result="failure"}}'
    (tmp_path / "link.rules.yml").write_text(generate_alerts(jaeger="http://jaeger"))
    test = {
        "interval": "1m",
        "input_series": [{"series": series, "values": "60x10"}],
        "alert_rule_test": [
            {
                "eval_time": "5m",
                "alertname": "FlowLastRunFailed",
                "exp_alerts": [
                    {
                        "exp_labels": {"severity": "page", "job": "shop/billing", "flow": "month+end"},
                        "exp_annotations": {
                            "summary": "The last run of flow month+end (shop/billing) failed.",
                            "description": "It failed at 1970-01-01 00:01:00 +0000 UTC and has not succeeded since.",
                            "runbook": "Open the failing trace, read the exception of its innermost red span, and run "
                            "the flow again; the alert resolves with the next success.",
                            "traces": link,
                        },
                    }
                ],
            }
        ],
    }
    file = {"rule_files": ["link.rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "link.test.yml").write_text(json.dumps(file))

    done = promtool("test", "rules", tmp_path / "link.test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A module with a flow and a runbook for each hostile text, forgotten as the module `shop` is."""
    lines = ["from otelflow import Objective, flow", f"TEXTS = {HOSTILE!r}", "for text in TEXTS:"]
    lines += ["    @flow(flow_name=text, objective=Objective(success=0.9, duration='1m', every='1h', runbook=text))"]
    lines += ["    def work(): ..."]
    (tmp_path / "hostile_flows.py").write_text("\n".join(lines))
    importlib.invalidate_caches()
    yield "hostile_flows"
    sys.modules.pop("hostile_flows", None)


def test_a_text_with_a_template_in_it_is_quoted_and_every_other_is_left_as_it_is():
    assert literal("https://runbooks/{id}?q=}}") == "https://runbooks/{id}?q=}}"
    assert literal("ends in {") == '{{ "ends in {" }}'
    assert literal('say "{{x}}"\n') == r'{{ "say \"{{x}}\"\n" }}'
    assert literal("half \ud83d") == "half ?"


def shown(template):
    """Return what Go shows: the first two braces open an action, which is a text in quotes here, or else."""
    text = ""
    while "{{" in template:
        before, _, rest = template.partition("{{")
        action = re.match(r' ("(?:[^"\\]|\\.)*"|else) }}', rest)
        assert action, f"{rest!r} is executed"
        text += before + ("|" if action[1] == "else" else json.loads(action[1]))
        template = rest[action.end() :]
    return text + template


@given(st.text(st.sampled_from('{}"\\ \n') | st.characters(exclude_categories=["Cs"])))
def test_no_text_of_a_user_is_executed_whatever_stands_behind_it(text):
    assert shown(literal(text) + "{{ else }}") == f"{text}|"


@pytest.mark.stack
def test_no_text_of_a_user_breaks_the_rules(shop, hostile, promtool, tmp_path):
    (tmp_path / "otelflow.rules.yml").write_text(generate_alerts([hostile], jaeger="https://jaeger/{{ 1 }}{"))

    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "otelflow.rules.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.stack
def test_hundreds_of_made_up_names_and_runbooks_break_no_rule(tmp_path, promtool):
    noise = random.Random(5)
    texts = {"".join(noise.choices(NOISE, k=noise.randint(1, 30))) for _ in range(300)}
    lines = ["from otelflow import Objective, flow", f"for text in {sorted(filter(str.strip, texts))!r}:"]
    lines += ["    @flow(flow_name=text, objective=Objective(success=0.9, duration='1m', every='1h', runbook=text))"]
    lines += ["    def work(): ..."]
    (tmp_path / "noise_flows.py").write_text("\n".join(lines))
    (tmp_path / "noise.rules.yml").write_text(generate_alerts([str(tmp_path / "noise_flows.py")]))

    # One program for all of them: played through, they would take it a minute for each dozen.
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / "noise.rules.yml")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(texts) > 250


@pytest.mark.stack
def test_an_alert_shows_the_runbook_and_the_name_of_a_flow_as_they_are(shop, hostile, promtool, tmp_path):
    (tmp_path / "shown.rules.yml").write_text(generate_alerts([hostile], jaeger="http://jaeger"))
    alerts = [
        {
            "exp_labels": {"severity": "page", "flow": text.replace("\ud83d", "\\ud83d")},
            "exp_annotations": {
                "summary": f"Nobody has seen flow {text} succeed for 1h.".replace("\ud83d", "\\ud83d"),
                "description": "Promised is one success every 1h. It never ran, always failed, or its metrics do not "
                "arrive; they would name its service.",
                "runbook": text.replace("\ud83d", "?"),
            },
        }
        for text in HOSTILE
    ]
    look = {"eval_time": "65m", "alertname": "FlowNeverSucceeded", "exp_alerts": alerts}
    series = {"series": f'{semconv.FLOW_LAST_RUN}{{flow="other"}}', "values": "0x70"}
    test = {"interval": "1m", "input_series": [series], "alert_rule_test": [look]}
    file = {"rule_files": ["shown.rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "shown.test.yml").write_text(json.dumps(file, ensure_ascii=False))

    done = promtool("test", "rules", tmp_path / "shown.test.yml")

    assert done.returncode == 0, done.stdout + done.stderr
