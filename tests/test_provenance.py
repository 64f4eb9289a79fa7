"""Where numbers come from: the commit of the code, and the table that tells it all."""

import subprocess
from dataclasses import replace

from builders import found_in, pair, rows, untrained

from pytorch.experiments.provenance import commit
from pytorch.experiments.vocabulary import PAIR
from pytorch.report.findings import Trained
from pytorch.report.origin import origin_table


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    process = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return process.stdout.strip()


def test_the_commit_of_the_code(tmp_path, monkeypatch):
    code = tmp_path / "code.py"
    assert commit(tmp_path / "missing" / "code.py") == ""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(code) == ""
    git(tmp_path, "init", "--quiet")
    code.write_text("a = 1\n")
    (tmp_path / "guest.py").write_text("not tracked\n")
    assert commit(code) == ""
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    assert commit(code) == git(tmp_path, "rev-parse", "HEAD")[:12]
    assert commit(tmp_path / "guest.py") == ""
    code.write_text("a = 2\n")
    assert commit(code) == git(tmp_path, "rev-parse", "HEAD")[:12] + "+changes"
    monkeypatch.setenv("PATH", "")
    assert commit(code) == ""


def test_every_training_and_measurement_is_listed(trained):
    training = {name: {"seed": 3, "epochs": 3} for name in PAIR}
    measured = pair(training=training, versions={"python": "3.12", "commit": "abc"}, seconds=90.0)
    models = {name: replace(trained, trained_on=name, dataset="mnist", commit="def", date="today") for name in PAIR}
    found = found_in(
        measured,
        untrained(),
        trained_pairs={("simple_conv", "mnist"): Trained(None, [models], {}, [])},
        repeats=[replace(measured, dataset="folder-cifar10-jpeg")],
    )
    table = origin_table(found)
    copy, of_training, of_pair, of_control = rows(table)
    assert (of_training["what"], of_training["extent"]) == ("training", "2 + 2 epochs of 10 images")
    # Two models, two epochs of a second each.
    assert (of_training["minutes"], of_training["commit"], of_training["date"]) == ("0.1", "def", "today")
    assert (of_pair["what"], of_pair["minutes"], of_pair["seed"]) == ("rotation, mean", "1.5", 3)
    assert (of_pair["commit"], of_pair["versions"]) == ("abc", "python 3.12")
    assert (of_control["what"], of_control["seed"]) == ("rotation, mean, random-weights", 0)
    assert copy["dataset"] == "folder-cifar10-jpeg"
    assert table.caption.endswith("a copy of CIFAR-10 with lossy JPEG compression.")
