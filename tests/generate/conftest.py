import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otelflow.generate import generate_alerts

SHOP = Path(__file__).parent / "promises/shop_flows.py"


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A module with flows, some of which promise something."""
    shutil.copy(SHOP, tmp_path)
    (tmp_path / "broken_flows.py").write_text("import no_such_package_anywhere")
    (tmp_path / "raising_flows.py").write_text("1 / 0")
    (tmp_path / "leaving_flows.py").write_text("raise SystemExit(4)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield "shop_flows"
    sys.modules.pop("shop_flows", None)


@pytest.fixture
def promtool():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = Path(os.environ.get("OTELFLOW_STACK_DIR") or cache / "otelflow-stack") / "bin/promtool"
    if not program.exists():
        if os.environ.get("OTELFLOW_REQUIRE_STACK") == "1":
            pytest.fail("promtool is not there: run .ci/stack", pytrace=False)
        pytest.skip("promtool is not there: run .ci/stack")

    def run(*arguments):
        # Each rule is evaluated for each minute of each test: a third of that time is spent on collecting garbage.
        environment = {**os.environ, "GOGC": "400"}
        return subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, timeout=220, check=False, env=environment
        )

    return run


@pytest.fixture
def play_rules(promtool, tmp_path):
    """Play series for the rules of a file: promtool says whether *alert* names what it is to name at each moment."""

    def play(rules, interval, alert, label, series, firing):
        looks = [
            {
                "expr": f'count by ({label}) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": moment,
                "exp_samples": [{"labels": f'{{{label}="{value}"}}', "value": 1} for value in values],
            }
            for moment, values in firing.items()
        ]
        test = {
            "interval": interval,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": looks,
        }
        file = {"rule_files": ["play.rules.yml"], "evaluation_interval": interval, "tests": [test]}
        (tmp_path / "play.rules.yml").write_text(rules)
        (tmp_path / "play.test.yml").write_text(json.dumps(file))
        return promtool("test", "rules", tmp_path / "play.test.yml")

    return play


@pytest.fixture
def days(play_rules):
    """Play hours and days in whole hours: which flows does an alert name at which moments?"""

    def play(alert, series, firing, modules=()):
        return play_rules(generate_alerts(modules), "1h", alert, "flow", series, firing)

    return play
