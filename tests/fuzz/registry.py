"""All targets by name."""

from fuzz.targets.campaigns import Header, Maps, Recorded, Report, Units
from fuzz.targets.data import DATA_TARGETS, ClassNames, Preprocessing
from fuzz.targets.logs import ActivationTables, CalibrationRanges, SearchLogs, Thresholds, TrainingLogs
from fuzz.targets.models import Inject, Inspect, InspectCommand
from fuzz.targets.options import Configs, Environments, FaultLists, Feeds, Goals, ProtectionPlans, Published, Studies
from fuzz.targets.weights import Checkpoints, Interrupted

_KINDS = (
    ActivationTables, CalibrationRanges, Checkpoints, ClassNames, Configs, Environments, FaultLists, Feeds, Goals,
    Header, Inject, Inspect, InspectCommand, Interrupted, Maps, Preprocessing, ProtectionPlans, Published, Recorded,
    Report, SearchLogs, Studies, Thresholds, TrainingLogs, Units,
)  # fmt: skip

TARGETS = {target.name: target for target in (*(kind() for kind in _KINDS), *DATA_TARGETS)}
