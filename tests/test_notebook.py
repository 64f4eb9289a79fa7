"""Notebooks run, and show progress bars and results, in a kernel like that of Jupyter."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "own_network.ipynb"
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """A function that runs a notebook in a folder next to the package, and returns all outputs of its cells."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))  # not the user's kernels
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "pytorch").symlink_to(ROOT / "pytorch")
    (tmp_path / "docs").mkdir()

    def run(notebook):
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path / "docs")}}).execute()
        return [output for cell in notebook.cells for output in cell.get("outputs", [])]

    return run


def test_the_notebook_has_no_outputs_and_its_links_lead_somewhere():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        for target in re.findall(r"\]\(([^)#]+)", cell.source if cell.cell_type == "markdown" else ""):
            assert (NOTEBOOK.parent / target).exists(), target
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_the_notebook_runs_from_top_to_bottom(executed, tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    outputs = executed(notebook)
    assert not [output for output in outputs if output.get("name") == "stderr"]
    data = [output.data for output in outputs if "data" in output]
    assert sum(WIDGET in each for each in data) == 1
    assert "measuring: 100%" in widget_texts(notebook)
    first, last = [each for each in data if "<svg" in each.get("text/html", "")]
    assert first["text/html"] == last["text/html"]
    assert any("<th>nv</th>" in each.get("text/html", "") for each in data)
    assert any("image/png" in each for each in data)
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["my_network.result"]


BAR = """\
import sys
{before}
sys.path.insert(0, "..")
from pytorch.progress_bar import progress_bar
for _ in progress_bar(range(3), title="counting", unit=" numbers"):
    pass
with progress_bar(title=None, total=2) as bar:
    bar.update(2)
"""


def test_a_bar_in_a_notebook_is_a_widget(executed):
    notebook = notebook_of(BAR.format(before=""))
    (bar,) = executed(notebook)
    assert WIDGET in bar.data
    assert "counting: 100%" in widget_texts(notebook)


def test_a_bar_without_widgets_is_text_and_no_warning(executed):
    outputs = executed(notebook_of(BAR.format(before="sys.modules['ipywidgets'] = None")))
    assert {output.name for output in outputs} == {"stderr"}
    text = "".join(output.text for output in outputs)
    assert "counting: 100%" in text
    assert "Warning" not in text


def widget_texts(notebook):
    """What the widgets of an executed notebook show at its end."""
    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    return [str(widget["state"].get("value")).replace("\u2007", " ") for widget in widgets]


def notebook_of(code):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
