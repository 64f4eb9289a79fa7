"""Tables as files: floats come back from CSV, and names stay names in CSV, Markdown and LaTeX."""

import csv
import gzip
import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from builders import FIRST_OF_ROW, HOSTILE, NAMES, hostile, pair, result, shuffled, untrained

from pytorch.report.formats import estimate_text, latex, latex_comment, latex_text, markdown, markdown_comment
from pytorch.report.rows import global_row, rows_of
from pytorch.report.table import Estimate, Table
from pytorch.report.table_files import write_tables
from pytorch.report.tables import results_tables


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        ((0.78361, 0.00204), "0.7836 ± 0.0020"),
        ((0.78361, 0.0000204), "0.783610 ± 0.000020"),
        ((0.78361, 2.04e-8), "0.783610 ± 0.000000"),
        ((1.17449, 0.0171), "1.174 ± 0.017"),
        ((1.17449, 0.0996), "1.17 ± 0.10"),
        ((123.456, 12.3), "123 ± 12"),
        ((-0.07064, math.nan), "−0.0706"),
        ((-0.00001, math.nan), "0.0000"),
        ((0.5, math.inf), "0.5000 ± inf"),
        ((math.nan, math.nan), "–"),
        ((math.nan, 0.1), "–"),
        ((math.inf, 0.1), "inf"),
        ((1.5e300, math.nan), "1.500e+300"),
    ],
)
def test_estimates_as_text(estimate, text):
    assert estimate_text(Estimate(*estimate)) == text


def write_all(folder, pairs, command):
    return write_tables(folder, pairs, results_tables(pairs), command)


def test_csv_gives_the_same_floats_back(tmp_path):
    """Rounding of 1.5 explains TV and SV of one unit, TV alone of another."""
    results = {**pair().results, "unrotated": result(rounding=np.full(4, 1.5))}
    measured, controls = pair(results=results), {"random-weights": untrained(), "shuffled": shuffled()}
    assert results["unrotated"].unit_counts()["rounding"] == 1
    path, *_ = write_all(tmp_path, [measured, *controls.values()], "python")
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    # 2 models and 3 of controls × (3 rows × (all and 3 classes × 3 quantities, and stratified)).
    assert len(found) == 5 * 3 * (4 * 3 + 1)
    keys = set()
    for row in found:
        of = controls.get(row["control"], measured).results[row["trained_on"]]
        what = row["group"], row["quantity"]
        if row["level"] == "layer":
            assert of.layer_names[int(row["layer_index"])] == row["layer"]
            ways, at = (of.layer_means, of.layer_errors, of.layer_intervals), row["layer"]
        else:
            assert row["layer"] == row["layer_index"] == ""
            ways, at = (of.global_mean, of.global_error, of.global_interval), None
        for varying, prefix in ((False, ""), (True, "varying_")):
            value, error, interval = (way(*what, varying=varying) if at is None else way(*what, varying=varying)[at]
                                      for way in ways)  # fmt: skip
            names = ("value", "standard_error", "low95", "high95")
            numbers = [float(row[f"{prefix}{name}"] or "nan") for name in names]
            np.testing.assert_array_equal(numbers, [value, error, *interval])
        assert int(row["samples"]) == of.sample_count(row["group"])
        if row["level"] == "global" and row["quantity"] == "normalized":
            counts = of.unit_counts(row["group"])
            assert all(int(row[name]) == counts[name] for name in counts if name != "invariant")
        keys.add((row["control"], row["trained_on"], *what, row["level"], row["layer"]))
    assert len(keys) == len(found)
    columns = ("control", "trained_on", "group", "quantity", "level", "published_2019")
    assert [tuple(row[name] for name in columns) for row in found if row["published_2019"]] == [
        ("", trained_on, group, "normalized", "global", value)
        for trained_on, group, value in (("unrotated", "all", "0.7315"), ("unrotated", "stratified", "1.01"),
                                         ("rotated", "all", "0.686"), ("rotated", "stratified", "0.9728"))
    ]  # fmt: skip
    assert [row["value"] for row in found if row["trained_on"] == "rotated"][6] == ""
    assert {(row["seed"], row["steps"], row["weights"]) for row in found} == {("5", "2", digit * 16) for digit in "012"}


def test_rows_are_computed_once_for_each_measurement():
    measured = pair()
    other = replace(measured, model="resnet")  # of the same results
    assert rows_of(measured) is rows_of(measured)
    assert [global_row(each, "rotated", "all").model for each in (measured, other)] == ["simple_conv", "resnet"]


def test_csv_makes_no_formulas(tmp_path):
    path, *_ = write_all(tmp_path, [hostile()], "python")
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    escaped = HOSTILE.replace("\ud800", "\\ud800")
    assert {row["layer"] for row in found} == {f"'{escaped}", "[1cm]", "*", "'+1", ""}
    assert {row["group"] for row in found} == {"all", "stratified", "'@x", "'-1", f"'{escaped}"}
    assert [row for row in found if row["low95"].startswith("-")], "a negative number is no formula"


def cells(line):
    return re.split(r"(?<!\\)(?:\\\\)*\|", line)


def test_names_stay_names_in_markdown():
    table = results_tables([hostile()])[-1]
    text = markdown([table])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(NAMES)
    assert {len(cells(line)) for line in lines} == {len(table.columns) + 2}
    found = [re.sub(r"\\(.)", r"\1", line.split(" | ")[0][2:]) for line in lines[2:]]
    assert found[1:] == FIRST_OF_ROW
    assert found[0].split() == ["=a|b\\c\\|d&e%f$g#h_i{j}k~l^m<n>o`p*q[r]", "-->{\\end{tabular}", "×±–", "é漢�"]
    assert not re.findall(r"(?<!\\)(?:\\\\)*[<`*\[\]]", text)
    assert markdown_comment("a --> b\n<script>").count(">") == 1


def test_names_stay_names_in_latex():
    table = results_tables([hostile()])[-1]
    text = latex([table])
    assert text.isascii()
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == len(NAMES)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {len(table.columns) - 1}
    assert re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1] == "l" + "r" * (len(table.columns) - 1)
    assert not [line for line in body if line.strip()[0] in "[*"], "would belong to the line break before"
    assert text.count(r"\end{tabular}") == 1
    for sign in "%$#_":
        assert not re.search(
            rf"(?<!\\){re.escape(sign)}", latex_text(HOSTILE).replace(r"$\pm$", "").replace(r"$\times$", "")
        )
    assert latex_text("ö\\--") == r"\"{o}\textbackslash{}-{}-"
    assert latex_comment("a\n\\b\rc").count("\n") == 1


def test_what_is_right_aligned():
    table = Table(
        "t", "t", "c", ["name", "share", "n", "v"], [["1 %x", "1.5 %", 3, None], [None, None, None, Estimate(1, 2)]]
    )
    assert "| --- | ---: | ---: | ---: |" in markdown([table])


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex")
def test_latex_compiles(tmp_path):
    write_all(tmp_path, [pair(), hostile(), untrained(), shuffled(), pair(model="resnet", dataset="cifar10")], HOSTILE)
    (tmp_path / "all.tex").write_text(r"""\documentclass{article}
        \usepackage{booktabs}\usepackage{adjustbox}
        \begin{document}\input{results.tex}\end{document}""")
    command = ["pdflatex", "-draftmode", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    if "adjustbox.sty' not found" in run.stdout:
        pytest.skip("no adjustbox")
    assert run.returncode == 0, run.stdout[-2000:]


def test_the_compressed_table_has_the_rows_over_all_samples_and_stratified(tmp_path):
    table, *_, compressed = write_all(tmp_path, [pair(), hostile()], "python make.py")
    with table.open(newline="", encoding="utf-8") as whole, gzip.open(compressed, "rt", newline="") as part:
        rows, kept = list(csv.DictReader(whole)), list(csv.DictReader(part))
    assert kept == [row for row in rows if row["group"] in ("all", "stratified")]
    assert {row["group"] for row in rows} > {row["group"] for row in kept} == {"all", "stratified"}
    assert compressed.read_bytes()[4:8] == bytes(4), "no time in the header"


def test_files_are_the_same_for_the_same_measurements(tmp_path):
    pairs = [pair(), hostile(), untrained(), shuffled()]
    first, second = (write_all(tmp_path / name, pairs, "python make.py --> \n") for name in "ab")
    assert [path.name for path in first] == ["results.csv", "results.md", "results.tex", "results.csv.gz"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert first[1].read_text().startswith("<!-- Generated by: python make.py --&gt;")
    head = first[2].read_text().splitlines()[:2]
    assert head[0].startswith("% Generated by: python make.py --> ")
    assert head[1] == r"% Needs \usepackage{booktabs} and \usepackage{adjustbox}."
