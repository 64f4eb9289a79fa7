"""What the README shows works."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_examples_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, drawing, second = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in first.splitlines() if line]) <= 12
    names = {}
    exec(compile(first, "README.md", "exec"), names)
    out = capsys.readouterr().out
    assert len(re.findall(r"^[0-4] +\d\.\d{3}$", out, re.MULTILINE)) == 4
    exec(compile(drawing, "README.md", "exec"), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heatmap.png", "layers.pdf"]
    exec(compile(second, "README.md", "exec"), names)
    assert names["both"]["mean"].layer_names == ["layer1", "layer2", "layer3", "layer4", "fc"]
    assert "layer4.1.add" in names["every"].layer_names


def test_every_picture_and_page_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
