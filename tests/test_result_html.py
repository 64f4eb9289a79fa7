"""A result in a notebook: a small heatmap, and the most and the least invariant layers."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from builders import MARKUP, NAMES, of_layers, result

from pytorch.errors import one_line
from pytorch.variance.result_html import COLOURS, CONSTANT_COLOUR

TAGS = {"div", "p", "span", "svg", "path", "g", "rect", "title", "table", "thead", "tbody", "tr", "th", "td"}


class Parts(HTMLParser):
    """Text of each tag, and the lines of each colour."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.lines, self.size = [], [], {}, None
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert tag in TAGS
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
        if tag == "path":
            found = re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)", attributes["d"])
            self.lines[attributes["stroke"]] = [tuple(map(float, line)) for line in found]
        if tag == "svg":
            self.size = attributes["viewbox"]
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1], data))

    def all(self, tag):
        return [text for name, text in self.texts if name == tag]


def parts(found):
    return Parts(found._repr_html_())


def test_columns_show_the_shares_of_the_units():
    """Of conv, one unit is constant and one has NV 0.5; of linear, one has inf and one 3."""
    found = parts(result())
    assert found.size == "0 0 2 1"
    top = np.quantile([0.5, 3], 0.98)
    assert found.lines == {
        COLOURS[int(0.5 / top * len(COLOURS))]: [(0.5, 0.5, 1)],
        COLOURS[-1]: [(1.5, 0, 1)],
        CONSTANT_COLOUR: [(0.5, 0, 0.5)],
    }
    assert found.all("title") == ["conv: 2 units, mean NV 0.750", "linear: 2 units, mean NV 3.000"]
    assert f"{top:.2f} or more" in "".join(found.all("p"))


def test_the_most_and_the_least_invariant_layers_are_listed():
    found = of_layers([4] * 12)
    means, errors = found.layer_means(), found.layer_errors()
    order = sorted(means, key=means.get)
    expected = [*order[:5], *order[:-6:-1]]
    cells = parts(found).all("td")
    assert cells[::2] == expected
    assert cells[1::2] == [f"{means[name]:.3f} ± {errors[name]:.3f}" for name in expected]
    assert parts(found).all("th")[::2] == ["most invariant layers", "least invariant layers"]


def test_a_few_layers_are_listed_once():
    found = parts(of_layers([4] * 10))
    assert found.all("th") == ["layers, most invariant first", "mean NV"]
    assert len({*found.all("td")[::2]}) == 10


def test_undefined_layers_are_not_ranked():
    nothing = np.full(4, np.nan)
    found = parts(result(tv_all=nothing, sv_all=nothing))
    assert found.all("td") == []
    assert found.lines == {}


@pytest.mark.parametrize("name", [MARKUP, *NAMES, "\x1b[2J", "x" * 299])
def test_names_are_text(name):
    found = result(layer_names=[name, "linear"], aggregation=MARKUP)._repr_html_()
    found.encode()
    assert found.isprintable()
    shown = Parts(found).all("td")[0]
    assert shown == one_line(name, 60)


def test_many_layers_make_little_text():
    assert len(of_layers([512] * 150)._repr_html_()) < 100_000
