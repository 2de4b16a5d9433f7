"""The commands as they are listed."""

import pytest


@pytest.mark.parametrize("columns", ["40", "60", "80"])
def test_the_list_of_commands_has_whole_sentences(otelflow, columns):
    done = otelflow("--help", COLUMNS=columns)

    text = " ".join(done.out.partition("Commands:")[2].split())
    sentence = "Look at everything between a flow and its dashboards, and say what to do about what is not right."
    assert "..." not in text
    assert f"doctor {sentence}" in text
    assert "Examples: otelflow demo" in text
