"""What ftonnx prints as JSON, and what it keeps in files of JSON, by the name of its schema."""

from typing import Any, Final, NamedTuple

from ftonnx.studies.schema import Document
from json_outputs.advice import Advice
from json_outputs.campaigns import Campaign, CampaignFile, DryRun, Merged, RecordedUnit, ResultsCheck
from json_outputs.models import (
    Activations,
    Bench,
    Data,
    Exported,
    Finetuned,
    FinetunedInt8,
    OneEpoch,
    OnePretrainingEpoch,
    Pretrained,
    Protected,
    Qat,
    Quantized,
    Thresholds,
)
from json_outputs.questions import (
    Comparison,
    Fit,
    FitAtRates,
    Gate,
    InjectionPlan,
    PopulationPlan,
    Rate,
    Report,
    Space,
)
from json_outputs.readiness import Check, Doctor
from json_outputs.studies import Presets, StudyDryRun, StudyTables

__all__ = ["OUTPUTS", "Output"]


class Output(NamedTuple):
    """One kind of output.

    Attributes:
        type: what is in it.
        source: the command that prints it or the file that holds it, and behind a comma what is to be said of that.
    """

    type: Any
    source: str


OUTPUTS: Final = {
    "inject": Output(Campaign, "ftonnx inject --json"),
    "inject-dry-run": Output(DryRun, "ftonnx inject --dry-run --json"),
    "check": Output(Check, "ftonnx check --json"),
    "inspect": Output(Space, "ftonnx inspect --json"),
    "faults": Output(RecordedUnit, "ftonnx faults --json"),
    "doctor": Output(Doctor, "ftonnx doctor --json"),
    "data": Output(Data, "ftonnx data --json"),
    "export": Output(Exported, "ftonnx export --json"),
    "pretrain": Output(Pretrained, "ftonnx pretrain --json"),
    "finetune": Output(Finetuned, "ftonnx finetune --json"),
    "finetune-qat": Output(FinetunedInt8, "ftonnx finetune --qat --json"),
    "protect": Output(Protected, "ftonnx protect --json"),
    "quantize": Output(Quantized, "ftonnx quantize --json, and its --report FILE.json"),
    "qat": Output(Qat, "ftonnx qat --json"),
    "activations": Output(Activations, "ftonnx activations --json"),
    "plan": Output(InjectionPlan, "ftonnx plan MODEL --json"),
    "plan-population": Output(PopulationPlan, "ftonnx plan --population N --json"),
    "rate": Output(Rate, "ftonnx rate --json"),
    "fit": Output(Fit, "ftonnx fit --json, of single faults"),
    "fit-at-rates": Output(FitAtRates, "ftonnx fit --json, of a campaign at fault rates"),
    "bench": Output(Bench, "ftonnx bench --json"),
    "gate": Output(Gate, "ftonnx gate --json"),
    "advise": Output(Advice, "ftonnx advise --json"),
    "study": Output(StudyTables, "ftonnx study --json"),
    "study-dry-run": Output(StudyDryRun, "ftonnx study --dry-run --json"),
    "study-presets": Output(Presets, "ftonnx study --presets --json"),
    "merge": Output(Merged, "ftonnx merge --json"),
    "results": Output(ResultsCheck, "ftonnx results check --json"),
    "compare": Output(Comparison, "ftonnx compare --json"),
    "report": Output(Report, "ftonnx report --json"),
    "campaign-file": Output(CampaignFile, "campaign.json, in a results folder"),
    "thresholds-file": Output(Thresholds, "ftonnx protect --save-thresholds FILE.json"),
    "training-log": Output(OneEpoch, "OUT.jsonl, a line of the log of finetune and qat"),
    "pretraining-log": Output(OnePretrainingEpoch, "OUT.jsonl, a line of the log of pretrain"),
    "study-file": Output(Document, "FILE.toml, of a study, as JSON; ftonnx study --schema prints the same"),
}
"""By the name of the schema; those of a command's ``--json`` begin with its name."""
