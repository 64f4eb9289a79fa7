"""Table of where the numbers come from, with one row per training and measurement."""

from pytorch.experiments.published import COPIES, COPY_NOTE
from pytorch.experiments.summary import samples_used
from pytorch.experiments.trained_model import TrainedModel
from pytorch.experiments.variance_pair import VariancePair
from pytorch.experiments.vocabulary import PAIR, ROTATED
from pytorch.report.findings import Findings
from pytorch.report.table import Row, Table, table_of_rows

CAPTION = (
    "Minutes are wall time. A training counts all epochs of both models, without evaluation. A measurement counts all "
    "models and aggregations of its command together."
)


def origin_table(found: Findings) -> Table:
    """List trainings and measurements with their data, seeds, machines, versions and times."""
    trainings = [_training(pair) for trained in found.trained.values() for pair in trained.pairs]
    pairs = found.pairs + found.repeats
    rows = sorted(trainings + [_measurement(pair) for pair in pairs], key=lambda row: (row["dataset"], row["model"]))
    copy = [COPY_NOTE] if any(row["dataset"] in COPIES for row in rows) else []
    return table_of_rows("origin", "Where the numbers come from", " ".join([CAPTION, *copy]), rows)


def _training(pair: dict[str, TrainedModel]) -> Row:
    rotated = pair[ROTATED]
    seconds = sum(epoch.seconds for model in pair.values() for epoch in model.history)
    return {
        "model": rotated.model,
        "dataset": rotated.dataset,
        "what": "training",
        "extent": f"{' + '.join(str(pair[name].epochs) for name in PAIR)} epochs of {rotated.samples} images",
        "precision": rotated.precision,
        "seed": rotated.seed,
        "minutes": f"{seconds / 60:.1f}",
        "machine": rotated.machine or None,
        "date": rotated.date or None,
        "commit": rotated.commit or None,
        "versions": _versions(rotated.versions),
    }


def _measurement(pair: VariancePair) -> Row:
    result = pair.any_result
    control = f", {pair.control}" if pair.control else ""
    return {
        "model": pair.model,
        "dataset": pair.dataset,
        "what": f"{pair.transformation}, {pair.aggregation}{control}",
        "extent": f"{samples_used(pair)}, {len(result.transformations)} transformations",
        "precision": result.precision,
        "seed": pair.training_seed,
        "minutes": f"{pair.seconds / 60:.1f}",
        "machine": pair.machine,
        "date": pair.date,
        "commit": pair.versions.get("commit"),
        "versions": _versions(pair.versions),
    }


def _versions(named: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in named.items() if name != "commit")
