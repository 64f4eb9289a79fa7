"""Put each known fault of earlier implementations back, one at a time, and see that its test goes red.

Works on copies of the repository. Exit code 1 if a test stayed green or a fault could not be tried: its place or its
test is gone, or the test is red without it.

    python tests/put_faults_back.py [word ...]      # all faults, or those whose names have all the words
    python tests/put_faults_back.py --check         # only look for their places
"""

import argparse
import ast
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from faults import FAULTS, Replacement
from tqdm import tqdm

ROOT = Path(__file__).parents[1]


class CannotBeTriedError(Exception):
    """A fault cannot be put back, or nothing follows from its test."""


def module_file(place: str) -> tuple[Path, list[str]]:
    """The file, relative to the root, of the longest prefix that is a module, and the names that follow it."""
    names = place.split(".")
    for count in range(len(names), 0, -1):
        module = Path(*names[:count])
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if (ROOT / file).is_file():
                return file, names[count:]
    raise CannotBeTriedError(f"{place}: no such module")


def lines_of(text: str, names: list[str], place: str) -> slice:
    """The lines of a class or function with its decorators, or of a whole module."""
    node, lines = ast.parse(text), slice(None)
    for name in names:
        inner = (child for child in ast.walk(node) if child is not node)
        definitions = (child for child in inner if isinstance(child, ast.FunctionDef | ast.ClassDef))
        node = next((child for child in definitions if child.name == name), None)
        if node is None:
            raise CannotBeTriedError(f"{place}: no {name} in its module")
        lines = slice(min(part.lineno for part in (node, *node.decorator_list)) - 1, node.end_lineno)
    return lines


def with_fault(replacements: list[Replacement]) -> dict[Path, str]:
    """The texts of the files that a fault changes, by their path relative to the root."""
    texts = {}
    for place, old, new in replacements:
        file, names = module_file(place)
        text = texts.get(file) or (ROOT / file).read_text(encoding="utf-8")
        where = lines_of(text, names, place)
        lines = text.splitlines(keepends=True)
        source = "".join(lines[where])
        if source.count(old) != 1:
            raise CannotBeTriedError(f"{place}: contains {source.count(old)} times, not once: {old}")
        lines[where] = [source.replace(old, new)]
        texts[file] = "".join(lines)
    for file, text in texts.items():
        compile(text, f"{file} with a fault", "exec")
    return texts


def goes_red(test: str, texts: dict[Path, str]) -> bool:
    """Whether a test fails in a copy of the repository in which files have these texts."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "plots", "demo", "__pycache__"))
        for file, text in texts.items():
            (copy / file).write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        process = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if process.returncode not in (0, 1):
        raise CannotBeTriedError(f"{test} cannot be run:\n{process.stdout}{process.stderr}")
    return process.returncode == 1


@cache
def is_red_already(test: str) -> bool:
    """Whether a test fails without any fault."""
    return goes_red(test, {})


def outcome(test: str, replacements: list[Replacement], check: bool) -> str:
    """What became of a fault, in a word: found, red or GREEN."""
    texts = with_fault(replacements)
    if check:
        return "found"
    if is_red_already(test):
        raise CannotBeTriedError(f"{test} is red without any fault")
    return "red" if goes_red(test, texts) else "GREEN"


def main() -> int:
    """Put the faults back and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="word", help="only faults whose names have all these words")
    parser.add_argument("--check", action="store_true", help="only look for the places of the faults")
    options = parser.parse_args()
    chosen = {name: fault for name, fault in FAULTS.items() if all(word in name for word in options.words)}
    good = 0
    for name, (test, replacements) in tqdm(chosen.items(), unit=" faults", disable=None):
        try:
            word, reason = outcome(test, replacements, options.check), test
        except CannotBeTriedError as error:
            word, reason = "FAILED", error
        good += word in ("found", "red")
        tqdm.write(f"{word:6}  {name}  ({reason})")
    print(f"{good} of {len(chosen)} faults are {'found' if options.check else 'noticed'}")
    return int(good < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
