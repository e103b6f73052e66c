"""``ftonnx inject``: accuracy under bit flips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import typer

from ftonnx.campaign import PAPER_RATES, Campaign, CampaignResult, RateResult, Settings
from ftonnx.campaign.plan.schedule import Schedule
from ftonnx.campaign.results.guarded import GuardedRuns, guarded_runs
from ftonnx.campaign.results.published import check_publishable, published_outcomes
from ftonnx.campaign.run.worst_maps import check_maps
from ftonnx.cli.data_options import OptionalDataOptions
from ftonnx.cli.fault_options import FaultModelOptions
from ftonnx.cli.injections import print_injections
from ftonnx.cli.options import EMBEDDED, OUTPUT, FaultOptions, Json, RunOptions, UsualModelOptions
from ftonnx.cli.output import (
    SayingWhatIsThere,
    console,
    duration,
    note,
    note_results,
    number,
    percent,
    print_fault_model,
    print_json,
    progress_bar,
    table,
    warn,
)
from ftonnx.cli.protection import print_guarded_runs, print_protection
from ftonnx.cli.rates import print_over_time, print_rates
from ftonnx.cli.sample_options import SampleOptions
from ftonnx.datasets import Dataset
from ftonnx.datasets.kinds import FORMS
from ftonnx.environment.radiation import Environment
from ftonnx.errors import UsageError
from ftonnx.files import check_target, write_file
from ftonnx.inject import BitFlipRates, FaultList, FaultModel, GuardedMemory, OnnxModel, flips_in, histories_in
from ftonnx.inject.fault_models.of_environment import require_stored
from ftonnx.inject.guards import PlanCost
from ftonnx.plugins.mlflow_log import check_mlflow, log_result
from ftonnx.tasks import default_task
from ftonnx.words import printable

__all__ = ["inject"]

_EMBEDDED_RATES: Final = (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
"""The embedded model has 457 times fewer bits than ResNet-50, so it breaks at higher rates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FlipOptions(FaultModelOptions):
    """What flips."""

    environment: Annotated[
        Path | None,
        typer.Option(
            "--environment",
            metavar="FILE.toml",
            help="In place of --rate: the bit-fault rate of a radiation environment (see ftonnx rate), and how many "
            "bits an upset flips. With --over TIME,...: its upsets as they accumulate.",
        ),
    ] = None
    fault_list_out: Annotated[
        Path | None,
        typer.Option(
            "--fault-list-out",
            metavar="FILE.csv",
            help="Write single faults in that form, with n_injections,masked,non_critical,critical behind.",
        ),
    ] = None

    def check(self) -> None:
        """Find out before the work whether the list can be written.

        Raises:
            UsageError: it cannot.
        """
        if self.fault_list_out is not None:
            check_target(self.fault_list_out)

    def what_flips(self, model: str) -> FaultModel:
        """Return the fault model: what is asked for, an environment's rate, or the usual rates.

        Raises:
            UsageError: several are asked for, or a value makes no sense.
        """
        if self.environment is None:
            return self.model() or BitFlipRates(_EMBEDDED_RATES if model == EMBEDDED else PAPER_RATES)
        return self._in(Environment.from_toml(self.environment))

    def _in(self, place: Environment) -> FaultModel:
        """Return the fault model of an environment, at given times where there are some.

        Raises:
            UsageError: more is asked for, or a time makes no sense there.
        """
        given = self.given
        hours = given.pop("over", None)
        if given:
            others = [flag for flag in self.flags if flag != "--over"]
            raise UsageError(f"--environment gives the rate: no {others[0]} was expected")
        if hours is not None:
            return histories_in(place, hours)
        note(f"{self.environment}: {place.rate:.4g} flips per bit")
        return flips_in(place, place.rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageOptions(OptionalDataOptions):
    """Which images: the embedded ones for the embedded model."""

    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SPEC",
            help=f"One of {FORMS}; the last runs that file. Default for the embedded model: digits.",
        ),
    ] = None

    def open(self, name: str, model: OnnxModel) -> Dataset:
        """Open the data for a model, given as it was named and as it was read.

        Raises:
            UsageError: nothing says which, or an option makes no sense for these data.
            DataError: they cannot be read.
        """
        spec = self.data
        if not spec and name == EMBEDDED:
            spec = EMBEDDED
        if not spec:
            raise UsageError(f"--data SPEC is missing: one of {FORMS}")
        return self.load(spec, model)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunOptions(RunOptions):
    """How the campaign runs, and what NaN counts as."""

    nan: Annotated[
        str | None,
        typer.Option(
            "--nan",
            metavar="RULE",
            help="An output with NaN or Inf counts as due (detected error), or as what argmax says of it, as in "
            "published fault lists.  [default: due]",
        ),
    ] = None

    def settings_for(self, faults: FaultOptions, sample: SampleOptions, results: Path | None) -> Settings:
        """Return the library's settings, given where the results will be.

        Raises:
            UsageError: a value makes no sense.
        """
        return self.settings(
            faults,
            repeats=sample.repeats,
            precision=sample.precision,
            budget=sample.budget,
            question=sample.question,
            **sample.part(results),
        )

    def rules(self) -> dict[str, str | None]:
        """See ``RunOptions.rules``."""
        # named as the form without arguments fails in a class with slots
        return {"nan": self.nan, **RunOptions.rules(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _OutputOptions:
    """What is printed and written."""

    PANEL: ClassVar[str] = OUTPUT

    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="DIR",
            file_okay=False,
            help="Results folder; an unfinished campaign in it is continued.  [default: a temporary one]",
        ),
    ] = None
    log: Annotated[
        str | None,
        typer.Option("--log", metavar="mlflow", help="Also log the finished campaign to MLflow, with its report."),
    ] = None
    keep_maps: Annotated[
        int | None,
        typer.Option(
            "--keep-maps",
            metavar="N",
            help="Of segmentation: keep in the results folder, for reports, the label maps of the N units per rate "
            "that changed most pixels. They are run once more.",
        ),
    ] = None
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write a report too: one page that works offline."),
    ] = None
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate everything, print sizes and an estimated time, run nothing.")
    ] = False
    json: Json = False

    def check(self) -> None:
        """Find out before the work whether all can be written.

        Raises:
            UsageError: one cannot.
        """
        if self.report is not None:
            check_target(self.report)
        if self.log is None:
            return
        if self.log != "mlflow":
            raise UsageError(f"--log: mlflow was expected, got {self.log!r}")
        check_mlflow()

    def finish(self, result: CampaignResult, schedule: Schedule) -> None:
        """Print and write what was found, given what was run too."""
        warn(result.warnings)
        memory = schedule.memory
        guarded = [] if memory is None else guarded_runs(result, schedule)
        if self.json:
            print_json(result.to_dict() | _protection(memory, guarded))
        else:
            _print_result(result, memory)
            print_guarded_runs(guarded, injected=result.injections is not None)
        if self.log is not None:
            note(f"MLflow run: {log_result(result)}")
        if result.header.pilot is not None:
            note(f"images per pattern: {result.header.pilot.images_per_pattern}, as a pilot found")
        note_results(self.results)
        if self.report is not None:
            from ftonnx.report import build  # loads the chart libraries

            note(f"report: {build([result]).save(self.report)}")


def inject(
    network: UsualModelOptions,
    flips: _FlipOptions,
    faults: FaultOptions,
    images: _ImageOptions,
    sample: SampleOptions,
    running: _RunOptions,
    written: _OutputOptions,
) -> None:
    """Flip bits of a model's weights and biases, run it, and report its accuracy per fault rate.

    Every unit (one rate, one repeat, one batch) draws its own fault pattern; after it, the memory is restored.
    With --faults-per-run, --stuck-per-run, --exhaustive, --per-layer, --stratum or --fault-list, a pattern is an
    injection that all batches meet.
    """
    flips.check()
    written.check()
    settings = running.settings_for(faults, sample, written.results)
    if flips.environment is not None:
        require_stored(settings.roles)
    what_flips = flips.what_flips(network.model)
    task = running.outcomes()
    model = network.open()
    dataset = images.open(network.model, model)
    campaign = Campaign(model, dataset, what_flips, task=task, settings=settings, results=written.results)
    if flips.fault_list_out is not None:
        check_publishable(model, campaign.schedule, campaign.task)
    if written.keep_maps is not None:
        check_maps(written.keep_maps, campaign.task)
    if written.dry_run:
        _print_forecast(campaign, as_json=written.json)
        return
    with progress_bar(printable(f"{model.name} on {dataset.name}"), settings.deadline) as progress:
        result = campaign.run(progress=SayingWhatIsThere(progress))
    if settings.is_part:
        part = settings.part
        note(f"{campaign.units} units of {part.name} {part} are done; put the parts together with ftonnx merge")
    if written.keep_maps is not None:
        kept = campaign.keep_maps(result, written.keep_maps)
        note(f"label maps: {len(kept.pairs)} pairs kept")
    if flips.fault_list_out is not None:
        _publish(result, what_flips, flips.fault_list_out)
    written.finish(result, campaign.schedule)


def _protection(memory: GuardedMemory | None, runs: Sequence[GuardedRuns]) -> dict[str, Any]:
    """Return what is said of a protection as JSON values: its cost, and what its guards did."""
    if memory is None:
        return {}
    cost = PlanCost.of(memory).to_dict()
    return {"protection": {"cost": cost, "runs": [each.to_dict() for each in runs]}}


def _publish(result: CampaignResult, faults: FaultModel, file: Path) -> None:
    text = published_outcomes(result.results, _numbers(faults))
    write_file(text.encode(), file)
    note(f"fault list: {file}")


def _numbers(faults: FaultModel) -> list[int] | None:
    """Return the numbers that a published list gives its faults; None where there is no list."""
    if not isinstance(faults, FaultList) or faults.faults is None:
        return None
    numbers: list[int] = faults.faults.injection.tolist()
    return numbers


def _print_forecast(campaign: Campaign, *, as_json: bool) -> None:
    forecast = campaign.forecast()
    warn(forecast["warnings"])
    if as_json:
        expected = [{"rate": rate, "faults": faults} for rate, faults in forecast["expected_faults"].items()]
        print_json(forecast | {"expected_faults": expected} | _protection(campaign.schedule.memory, []))
        return
    out = console()
    name = printable(campaign.model.name)
    out.print(f"{name}: N = {number(forecast['bits'])} bits can flip; strategy {forecast['strategy']}")
    print_protection(campaign.schedule.memory)
    print_fault_model(campaign.space.formats, campaign.schedule.faults.note)
    rows = table("rate", "expected faults per unit", left=0)
    for rate, faults in forecast["expected_faults"].items():
        rows.add_row(f"{rate:g}", number(faults))
    out.print(rows)
    out.print(f"{number(forecast['units'])} units, about {duration(forecast['seconds'])}; nothing was run or written")


def _print_result(result: CampaignResult, memory: GuardedMemory | None) -> None:
    out = console()
    task = result.task
    fault_free = ", ".join(f"{task.fractions[name].label} {percent(value)}" for name, value in result.golden.items())
    sharing = "" if result.injections is not None else f" ({number(result.settings.images_per_unit)} share a pattern)"
    model, data = printable(result.model.name), printable(result.data.name)
    out.print(f"{model} on {data}, {number(result.data.samples)} images{sharing}: fault-free {fault_free}")
    space = result.fault_space
    out.print(
        f"N = {number(space.bits)} bits can flip ({', '.join(space.formats)}), "
        f"in {space.coverage.words(tensor.role for tensor in space.tensors)}"
    )
    print_protection(memory)
    print_fault_model(space.formats, result.faults.note)
    out.print()
    if task != default_task() or result.settings.output is not None:
        output = f", output {printable(result.settings.output)}" if result.settings.output else ""
        out.print(f"judged as {printable(task.text)}{output}\n", soft_wrap=True)
    print_rates(result)
    if result.stopping is not None:
        patterns = ", ".join(f"{number(rate.units)} at {rate.rate:g}" for rate in result.rates)
        out.print(f"fault patterns: {patterns}; the intervals hold whenever a campaign is ended")
    print_over_time(result)
    print_injections(result)
    silent = [f"{rate.rate:g}" for rate in result.rates if rate.rate and _changed_nothing(result, rate)]
    if silent and not result.faults.covers_all:
        note(f"no pattern changed an answer at {', '.join(silent)}: rarer harmful ones need more --repeats to show")


def _changed_nothing(result: CampaignResult, rate: RateResult) -> bool:
    """Say whether the short table has at a rate what it has without faults."""
    for name in result.task.shown:
        without = result.golden.get(name, 0.0)
        if not math.isclose(rate[name].mean, without, rel_tol=1e-12):
            return False
    return True
