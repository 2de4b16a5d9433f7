"""The page on notebooks: its cells in a real kernel."""

import re

import pytest

from support import pages

nbformat = pytest.importorskip("nbformat", reason="not installed: pip install 'otelflow[hosts]'")
nbclient = pytest.importorskip("nbclient", reason="not installed: pip install 'otelflow[hosts]'")
pytest.importorskip("ipykernel", reason="not installed: pip install 'otelflow[hosts]'")


def outputs_of(cell):
    outputs = (
        output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"] for output in cell.outputs
    )
    return re.sub(r"\x1b\[[\d;]*m", "", "".join(outputs))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_every_cell_of_the_page_runs_and_shows_what_the_page_says(monkeypatch):
    place = pages.Workplace("docs/how-to/notebooks.md")
    monkeypatch.delenv("XDG_STATE_HOME")
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(place.home))
    cells = [nbformat.v4.new_code_cell(block.text) for block in place.blocks if block.mark == "cell"]
    notebook = nbformat.v4.new_notebook(cells=cells)

    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute(cwd=str(place.folder))

    first, awaited, tree, drawn = map(outputs_of, notebook.cells)
    assert first.startswith("3 numbers\n")
    assert first.splitlines()[2].startswith("✓ flow numbers")
    assert first.rstrip().endswith("= result flow-return-value: [0, 2, 4]")
    assert awaited == "'waited'"
    assert tree.endswith("flow numbers · success\n├── task double · success\n└── task double · success\n")
    assert "✓ flow numbers" in drawn
    assert "· 2 numbers" in drawn
