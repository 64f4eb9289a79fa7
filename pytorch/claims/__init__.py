"""The claims of the paper, tested on the measurements.

Quiroga, Torrents-Barrena, Lanzarini & Puig (2019), Measuring (in)variances in convolutional networks,
doi 10.1007/978-3-030-27713-0_9.
"""

from pytorch.claims.claim import VERDICTS
from pytorch.claims.class_spread import class_spread
from pytorch.claims.collapse import collapse
from pytorch.claims.comparisons import comparisons, further_comparisons
from pytorch.claims.depth_trend import depth_trend
from pytorch.report.findings import Findings
from pytorch.report.table import Table, table_of_rows

CAPTION = (
    "Claims of Quiroga et al. (2019), tested on the measurements under rotations. Their wording and their bounds are "
    "ours. The tables below list the cases behind each verdict; cases of one network are not independent. "
    f"{VERDICTS} A network whose accuracy on upright data is not above chance has learned nothing and is not a case. "
    "With one training of each pair, a verdict is about these networks and not about other trainings."
)


def claims_tables(found: Findings) -> list[Table]:
    """Test every claim: a table of verdicts, then a table of cases for each claim; empty tables are left out."""
    judged = [judge(found) for judge in (comparisons, further_comparisons, collapse, class_spread, depth_trend)]
    rows = [
        {
            "claim": claim.statement,
            "cases": len(claim.cases),
            "verdict": claim.verdict(),
            "found": claim.found,
            "test": claim.test,
        }
        for claim, _ in judged
        if claim
    ]
    tables = [table_of_rows("claims", "Claims of the paper", CAPTION, rows), *(table for _, table in judged)]
    return [table for table in tables if table.rows]
