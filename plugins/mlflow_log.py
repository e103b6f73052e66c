"""MLflow: a campaign as a run, with settings, metrics per fault rate, and the report."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from ftonnx.campaign import CampaignResult, RateResult
from ftonnx.errors import StoreError, UsageError, message_of

__all__ = ["check_mlflow", "log_result"]


def check_mlflow() -> None:
    """Find out early whether results can be logged.

    Raises:
        UsageError: MLflow is not installed.
    """
    if find_spec("mlflow") is None:
        raise UsageError("MLflow is not installed; install it with: pip install 'ftonnx[mlflow]'")


def log_result(result: CampaignResult) -> str:
    """Log a campaign as a run of MLflow's current experiment, and return the run's id.

    Where it goes is MLflow's business: the variables ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME``, or what
    the program has set. Within an open run it becomes a run nested in that one.

    - Parameters: the settings, the faults, the task, the model's and the data's name, N.
    - Metrics: one step per fault rate, ascending; ``rate`` says which rate a step is. Every fraction of the task has
      one, and limits of the intervals are ``top1_low``, ``top1_high`` and so on; ``golden_top1`` is the fault-free
      accuracy.
    - Tags: SHA-256 of model and data, versions; ``ftonnx.warnings`` where there are any.
    - Artifacts: ``report.html`` and ``result.json``.

    Raises:
        UsageError: MLflow is not installed.
        StoreError: MLflow refuses the run.
    """
    check_mlflow()
    import mlflow

    from ftonnx.report import build

    try:
        with mlflow.start_run(run_name=result.model.name, nested=mlflow.active_run() is not None) as run:
            mlflow.set_tags(_tags(result))
            mlflow.log_params(_parameters(result))
            mlflow.log_metrics({f"golden_{name}": value for name, value in result.golden.items()})
            for step, rate in enumerate(result.rates):
                mlflow.log_metrics(dict(_metrics(rate)), step=step)
            mlflow.log_text(build([result]).html(), "report.html")
            mlflow.log_dict(result.to_dict(), "result.json")
            return str(run.info.run_id)
    except mlflow.exceptions.MlflowException as error:
        raise StoreError(
            f"MLflow does not take the run ({message_of(error)}); nothing is lost, the campaign is in {result.results}"
        ) from error


def _tags(result: CampaignResult) -> dict[str, str]:
    hashes = {"ftonnx.model.sha256": result.model.sha256, "ftonnx.data.sha256": result.data.sha256}
    warned = {"ftonnx.warnings": "\n".join(result.warnings)} if result.warnings else {}
    return hashes | warned | {f"ftonnx.version.{name}": version for name, version in result.versions.items()}


def _parameters(result: CampaignResult) -> dict[str, str]:
    values: dict[str, Any] = {
        "model": result.model.name,
        "data": result.data.name,
        "fault_space_bits": result.fault_space.bits,
        "faults": result.faults.name,
        "task": result.task.name,
    }
    for asked in (result.faults.to_dict(), result.task.to_dict(), result.shown_settings):
        values |= {name: value for name, value in asked.items() if name != "name"}
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    """Return a setting as text.

    >>> _text("auto"), _text(["weight", "bias"]), _text(None)
    ('auto', '["weight", "bias"]', 'null')
    """
    return value if isinstance(value, str) else json.dumps(value)


def _metrics(rate: RateResult) -> Iterator[tuple[str, float]]:
    yield "rate", rate.rate
    yield "patterns", rate.units
    yield "faults_mean", rate.faults_mean
    for name, estimate in rate.fractions.items():
        yield name, estimate.mean
        if estimate.low is not None and estimate.high is not None:
            yield f"{name}_low", estimate.low
            yield f"{name}_high", estimate.high
