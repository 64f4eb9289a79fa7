"""Tables as Markdown and LaTeX text; names keep their characters, whoever chose them."""

import math
import re
import unicodedata
from collections.abc import Sequence

from pytorch.report.table import Cell, Estimate, Table

USUAL_DECIMALS, MOST_DECIMALS = 4, 6
"""Decimals of a number without an error, and the most decimals of one with an error."""
SCIENTIFIC_FROM = 1e6

MARKDOWN_SIGNS = r"\|<>`*_[]~$&"

LATEX_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\`{}",
    "[": "{[}", "*": "{*}",  # first in a row, LaTeX would read them as arguments of the \\ before
    "±": r"$\pm$", "×": r"$\times$", "°": r"$^\circ$", "²": "$^2$",
    "τ": r"$\tau$", "χ": r"$\chi$", "−": "$-$", "–": r"\textendash{}", "—": r"\textemdash{}",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}",
}  # fmt: skip
LATEX_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0307": ".", "\u0308": '"',
    "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
"""Combining characters, and the LaTeX command for each."""

LATEX_TABLE = r"""\begin{{table}}[htbp]
  \centering
  \small
  \caption{{{caption}}}
  \label{{tab:{name}}}
  \smallskip
  \begin{{adjustbox}}{{max width=\linewidth, max totalheight=0.8\textheight}}
  \begin{{tabular}}{{{alignment}}}
    \toprule
    {head}
    \midrule
    {body}
    \bottomrule
  \end{{tabular}}
  \end{{adjustbox}}
\end{{table}}
"""


def estimate_text(estimate: Estimate) -> str:
    """Write a value with its error to two significant digits, with at most six decimals.

    >>> estimate_text(Estimate(0.78361, 0.00204)), estimate_text(Estimate(-1.2345, 0.0741))
    ('0.7836 ± 0.0020', '−1.234 ± 0.074')
    >>> estimate_text(Estimate(0.51968, 0.000039))
    '0.519680 ± 0.000039'
    >>> [estimate_text(Estimate(value, math.nan)) for value in (0.5, math.nan, math.inf)]
    ['0.5000', '–', 'inf']
    """
    value, error = estimate.value, estimate.error
    if math.isnan(value):
        return "–"
    decimals = _decimals(error)
    if math.isnan(error) or math.isinf(value):
        return _number(value, decimals)
    return f"{_number(value, decimals)} ± {_number(error, decimals)}"


def p_text(p_value: float) -> str:
    """Write a p-value.

    >>> p_text(0.0312), p_text(3e-9), p_text(math.nan)
    ('0.031', '< 0.0001', '–')
    """
    if math.isnan(p_value):
        return "–"
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def cell_text(cell: Cell) -> str:
    """Write a cell without escaping."""
    if isinstance(cell, Estimate):
        return estimate_text(cell)
    return "" if cell is None else str(cell)


def is_right_aligned(table: Table, column: int) -> bool:
    """Whether a column has only numbers or percentages."""
    cells = [row[column] for row in table.rows if row[column] is not None]
    return all(not isinstance(cell, str) or re.fullmatch(r"[\d.]+ %", cell) for cell in cells)


def markdown(tables: Sequence[Table]) -> str:
    """Write tables as GitHub-flavoured Markdown, each under a heading and its caption."""
    return "\n".join(_markdown_table(table) for table in tables)


def markdown_text(text: str) -> str:
    r"""Escape Markdown and HTML markup.

    >>> print(markdown_text("a_b|<i>"))
    a\_b\|\<i\>
    """
    return re.sub(f"[{re.escape(MARKDOWN_SIGNS)}]", r"\\\g<0>", without_controls(text))


def markdown_comment(text: str) -> str:
    """Write a comment that the text cannot end."""
    return f"<!-- {without_controls(text).replace('>', '&gt;')} -->\n"


def latex(tables: Sequence[Table]) -> str:
    """Write tables as LaTeX floats in ASCII, for pdfLaTeX and its successors."""
    needed = latex_comment(r"Needs \usepackage{booktabs} and \usepackage{adjustbox}.")
    return "\n".join([needed, *map(_latex_table, tables)])


def latex_text(text: str) -> str:
    r"""Escape LaTeX markup, and write other characters in ASCII, if need be as code points.

    >>> print(latex_text("50 % of a_b, café ± 漢"))
    50 \% of a\_b, caf\'{e} $\pm$ {[}U+6F22]
    """
    escaped = "".join(map(_latex_sign, without_controls(text)))
    return re.sub("-(?=-)", "-{}", escaped)  # LaTeX makes a dash of two hyphens


def latex_comment(text: str) -> str:
    """Write a comment that the text cannot end."""
    return f"% {without_controls(text)}\n"


def without_controls(text: str) -> str:
    r"""Replace line breaks and control characters by spaces, and surrogates, which no file can store, by a sign.

    >>> without_controls("a\r\nb\u202ec\ud800")
    'a  b c�'
    """
    kinds = {"Cc": " ", "Cf": " ", "Zl": " ", "Zp": " ", "Cs": "\ufffd"}
    return "".join(kinds.get(unicodedata.category(sign), sign) for sign in text)


def _decimals(error: float) -> int:
    """Number of decimals that show two significant digits of an error."""
    if not 0 < error < math.inf:
        return USUAL_DECIMALS
    exponent = int(f"{error:.1e}".partition("e")[2])
    return min(max(1 - exponent, 0), MOST_DECIMALS)


def _number(value: float, decimals: int) -> str:
    form = "z.3e" if SCIENTIFIC_FROM <= abs(value) < math.inf else f"z.{decimals}f"
    return format(value, form).replace("-", "−", 1) if value < 0 else format(value, form)


def _markdown_table(table: Table) -> str:
    rule = ["---:" if is_right_aligned(table, column) else "---" for column in range(len(table.columns))]
    rows = [[markdown_text(cell_text(cell)) for cell in row] for row in table.rows]
    lines = [[*map(markdown_text, table.columns)], rule, *rows]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {markdown_text(table.title)}\n\n{markdown_text(table.caption)}\n\n{body}\n"


def _latex_table(table: Table) -> str:
    rows = [" & ".join(latex_text(cell_text(cell)) for cell in row) + r" \\" for row in table.rows]
    alignment = "".join("r" if is_right_aligned(table, column) else "l" for column in range(len(table.columns)))
    return LATEX_TABLE.format(
        caption=latex_text(f"{table.title}. {table.caption}"),
        name=table.name,
        alignment=alignment,
        head=" & ".join(map(_latex_head, table.columns, alignment)) + r" \\",
        body="\n    ".join(rows),
    )


def _latex_head(head: str, alignment: str) -> str:
    """Break a head after its commas, so that columns are not wider than their numbers need."""
    text = latex_text(head)
    if ", " not in text:
        return text
    lines = text.replace(", ", r",\\ ")
    return rf"\shortstack[{alignment}]{{{lines}}}"


def _latex_sign(sign: str) -> str:
    if sign in LATEX_SIGNS:
        return LATEX_SIGNS[sign]
    if sign.isascii():
        return sign
    base, *marks = unicodedata.normalize("NFD", sign)
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in LATEX_ACCENTS:
        return rf"\{LATEX_ACCENTS[marks[0]]}{{{base}}}"
    return f"{{[}}U+{ord(sign):04X}]"
