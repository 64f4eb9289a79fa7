"""What the README and the pages of docs show works."""

import argparse
import ast
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from commands import TRAIN
from PIL import Image

import experiment_rotation
import pytorch
from pytorch.scripts.thread_waits import SPINS
from pytorch.variance import VarianceResult, measure_variance

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = {str(path.relative_to(ROOT)): path for path in (README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md"))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SCRIPTS = ["experiment_rotation.py", "experiment_variance.py", "plot_variances_models.py", "reproduce_paper.py"]
MADE_BY_COMMANDS = {"demo/plots/index.html", "plots/index.html", "plots/results.csv", "plots/figures.json"}
TARGETS = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMAND = re.compile(r"(?:[A-Z]+=\S+ )*(?:python|torchrun|make|pip|export|source) .*")

each_page = pytest.mark.parametrize("page", PAGES)


def blocks(page, language):
    return [code for found, code in BLOCK.findall(TEXTS[page]) if found == language]


def spans(page):
    """Inline code, on one line even where the text wraps."""
    prose = BLOCK.sub("", TEXTS[page])
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]


def anchors(text):
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("\\_", "_").lower()).replace(" ", "-") for heading in headings}


class ParsedError(Exception):
    """A script has parsed its command line."""


@pytest.fixture
def parser_of(tmp_path, monkeypatch):
    """A function that has a script parse arguments, with an image folder at hand; it returns the parser."""
    for split in ("train", "test"):
        (tmp_path / "cifar10-jpeg" / split / "cat").mkdir(parents=True)
    (tmp_path / "photographs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    parse_args = argparse.ArgumentParser.parse_args

    def parse_alone(self, *args):
        parse_args(self, *args)
        raise ParsedError(self)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_alone)

    def parse(script, arguments):
        spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with pytest.raises(ParsedError) as parsed:
            module.main(arguments)
        return parsed.value.args[0]

    return parse


def positionals(script):
    return ["simple_conv", "digits"] if script.startswith("experiment") else []


def test_the_readme_is_short():
    text = TEXTS["README.md"]
    assert len(text.splitlines()) < 200
    assert len(text.split()) < 2200


@pytest.mark.parametrize(
    "answer", ["make demo", "measure_variance(", "NV = TV / SV", "A **column** is", "LICENSE", "@inp"]
)
def test_a_newcomers_questions_are_answered_early(answer):
    assert answer in "\n".join(TEXTS["README.md"].splitlines()[:150])


@each_page
def test_the_first_paragraph_answers(page):
    title, answer = TEXTS[page].split("\n\n")[:2]
    assert re.fullmatch("# .*", title)
    assert re.match("[A-Z`]", answer)


@each_page
def test_every_block_is_of_a_kind_that_is_tested(page):
    assert {language for language, _ in BLOCK.findall(TEXTS[page])} <= {"python", "sh", "bibtex"}
    assert TEXTS[page].count("```") == 2 * len(BLOCK.findall(TEXTS[page]))
    assert not re.findall(rf"^ {{4,}}{COMMAND.pattern}", BLOCK.sub("", TEXTS[page]), re.MULTILINE)


def test_the_examples_run(capsys, tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    experiment_rotation.main([*TRAIN[1:], "--keep-epochs", "--plots-dir", str(home)])
    (tmp_path / "work").mkdir()
    tmp_path = tmp_path / "work"
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    network, definition = blocks("README.md", "python")
    drawing, comparing, keeping, reading, turning, saving, choosing, damaging, streaming, sharing = blocks(
        "docs/python.md", "python"
    )
    assert {page for page in PAGES if blocks(page, "python")} == {"README.md", "docs/python.md"}
    assert len([line for line in network.splitlines() if line]) <= 12
    names = {}
    exec(compile(network, "README.md", "exec"), names)
    out = capsys.readouterr().out
    assert len(re.findall(r"^[0-4] +\d\.\d{3}$", out, re.MULTILINE)) == 4
    exec(compile(drawing, "docs/python.md", "exec"), names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heatmap.png", "layers.pdf"]
    exec(compile(comparing, "docs/python.md", "exec"), names)
    assert {"networks.png", "heatmaps.png", "series.png"} <= {path.name for path in tmp_path.iterdir()}
    exec(compile(keeping, "docs/python.md", "exec"), names)
    assert [*names["series"]] == [0, 1, 2, 3]
    assert (tmp_path / "rotated.png").exists()
    capsys.readouterr()
    exec(compile(reading, "docs/python.md", "exec"), names)
    assert str(names["result"]) in capsys.readouterr().out
    exec(compile(turning, "docs/python.md", "exec"), names)
    assert (tmp_path / "equivariance.png").exists()
    assert names["turned"].without_positions == ["2", "4"]
    capsys.readouterr()
    exec(compile(saving, "docs/python.md", "exec"), names)
    assert capsys.readouterr().out == f"{names['result'].global_mean('stratified')}\n"
    exec(compile(choosing, "docs/python.md", "exec"), names)
    assert names["both"]["mean"].layer_names == ["layer1", "layer2", "layer3", "layer4", "fc"]
    assert "layer4.1.add" in names["every"].layer_names
    exec(compile(damaging, "docs/python.md", "exec"), names)
    assert names["damaged"].transformations == [
        f"<function {name}>" for name in ("same", "blurred", "noisy", "occluded")
    ]
    whole = names["result"]
    capsys.readouterr()
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.effect_noise((300, 250), 50).save(tmp_path / "photos" / name / "0.jpg")
    exec(compile(streaming, "docs/python.md", "exec"), names)
    assert capsys.readouterr().out == "2 ['cat', 'dog'] []\n"
    exec(compile(sharing, "docs/python.md", "exec"), names)
    np.testing.assert_allclose(names["whole"].tv_classes, whole.tv_classes, rtol=1e-4, atol=1e-6)
    capsys.readouterr()
    exec(compile(definition, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == definition.strip().rpartition("# ")[2]


@each_page
def test_every_command_works(page, parser_of):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for command in [*lines, *filter(COMMAND.fullmatch, spans(page))]:
        check_command(command, parser_of)


def check_command(command, parser_of):
    """Parse a command as its script does; run those that are harmless."""
    words = shlex.split(command, comments=True)
    while re.fullmatch("(PYTHON|PYTHONPATH)=.+", words[0]):
        words = words[1:]
    match words:
        case ["python", "-c", code]:
            found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
            assert Path(found.stdout.strip()) == Path(pytorch.__file__)
        case ["python", script, *arguments] if script.startswith("tests/"):
            usages = re.findall(
                r"^ {4}python .*$", ast.get_docstring(ast.parse((ROOT / script).read_text())), re.MULTILINE
            )
            assert ["python", script, *arguments] in [shlex.split(usage) for usage in usages], command
        case ["python", script, *arguments]:
            parser_of(script, arguments)
        case ["torchrun", "--nproc-per-node", _, "--nnodes", _, script, *arguments]:
            parser_of(script, arguments)
        case ["torchrun", "--nproc-per-node", _, script, *arguments]:
            parser_of(script, arguments)
        case ["make", *targets]:
            for target in targets:
                name, _, value = target.partition("=")
                if name == "PAPER":
                    parser_of("reproduce_paper.py", shlex.split(value))
                else:
                    assert target in TARGETS, command
        case ["pip", "install", "."]:
            assert (ROOT / "pyproject.toml").exists()
        case ["pip", "install", package]:
            assert any(f"pip install {package}" in path.read_text() for path in ROOT.glob("tests/*.py")), command
        case ["export", setting]:
            assert setting in ("PYTHONPATH=$PWD", f"GOMP_SPINCOUNT={SPINS}"), command
        case ["source", path]:
            assert path == ".venv/bin/activate"
        case _:
            pytest.fail(f"nothing tests {command!r}")


@each_page
def test_every_option_is_one_of_a_script(page, parser_of):
    for span in spans(page):
        if not span.startswith("--") or span == "--help":
            continue
        option, *values = shlex.split(span)
        takers = [
            script for script in SCRIPTS if option in parser_of(script, positionals(script))._option_string_actions
        ]
        assert takers, span
        if values:
            accepted = []
            for script in takers:
                with suppress(SystemExit):
                    accepted.append(parser_of(script, [*positionals(script), option, *values]))
            assert accepted, span


@pytest.mark.parametrize("section", re.split(r"^## ", TEXTS["docs/options.md"], flags=re.MULTILINE))
def test_the_table_of_a_script_has_its_options(section, parser_of):
    scripts = {shlex.split(line)[1] for line in re.findall(r"^python .*$", section, re.MULTILINE)}
    for options in re.findall(r"^\| `(--.*?)` \|", section, re.MULTILINE):
        (script,) = scripts
        parser_of(script, [*positionals(script), *shlex.split(options)])


@each_page
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if target.startswith("https://"):
            continue
        place, _, anchor = target.partition("#")
        path = PAGES[page].parent / place if place else PAGES[page]
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target


@each_page
def test_every_name_exists(page):
    parameters = inspect.signature(measure_variance).parameters
    for span in spans(page):
        if re.fullmatch(r"(pytorch|tests|benchmarks|plots|demo|docs)/[\w./-]*", span):
            assert span in MADE_BY_COMMANDS or (ROOT / span).exists(), span
        elif match := re.fullmatch(r"result\.(\w+)(\(.*\))?", span):
            assert match[1] in {*dir(VarianceResult), *VarianceResult.__dataclass_fields__}, span
        elif match := re.fullmatch(r"([a-z_]+)=.*", span):
            assert match[1] in parameters, span
        elif re.fullmatch(r"pytorch(\.\w+)+", span):
            with suppress(ImportError):
                importlib.import_module(span)
            assert eval(span, {"pytorch": pytorch}) is not None


@pytest.mark.parametrize(
    "what",
    [
        "10.1007/978-3-030-27713-0_9",
        "Measuring (in)variances in Convolutional Networks",
        "Torrents-Barrena",
        "1050",
        "2019",
    ],
)
def test_the_paper_is_cited_alike(what):
    assert what in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert what in "".join(blocks("README.md", "bibtex"))


def test_the_software_is_cited_in_its_version():
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", cited, flags=re.MULTILINE) == [pytorch.__version__]
    assert len(re.findall(r"^date-released: \d{4}-\d\d-\d\d$", cited, flags=re.MULTILINE)) == 1
