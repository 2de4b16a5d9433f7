"""Alert and recording rules for Prometheus, and their unit tests."""

from otelflow.generate._rules.alert import PIPELINE, Program
from otelflow.generate._rules.files import rule_file, rule_test_file

__all__ = ["PIPELINE", "Program", "rule_file", "rule_test_file"]
