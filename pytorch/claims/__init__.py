"""What the paper claims, put to what was measured: answers with error bars, and the tests that gave them.

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
    "Claims of Quiroga et al. (2019), put to the measurements of rotations that are here; how they are worded, and the "
    "bounds in them, is ours. The cases behind each answer stand in the tables that follow; those of one network hang "
    f"together. {VERDICTS} A network whose accuracy on upright data is not above chance has "
    "learned nothing and is no case. Where there is one training of each pair, the answers are of these networks, and "
    "not of what another training would come to."
)


def claims_tables(found: Findings) -> list[Table]:
    """Put every claim to what was found: a table that sums up, and one of the cases of each claim.

    Tables without rows are left out.
    """
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
