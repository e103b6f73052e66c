"""What people give to commands: options in TOML, environments, goals, lists of faults, constants."""

import numpy as np
import typer
from typer.exceptions import TyperException

from ftonnx.campaign.plan.feeds import Feed
from ftonnx.cli.application import app
from ftonnx.cli.lazy import SUMMARIES
from ftonnx.environment.radiation import Environment
from ftonnx.gates.goals import Goal, resolve_goals
from ftonnx.inject import FaultList, FaultSpace, GuardedMemory, ProtectionPlan, load_model
from ftonnx.studies import Study, example
from ftonnx.studies.published import read_published
from fuzz.target import Target
from fuzz.targets.commands import Refused


class Environments(Target):
    """An environment in TOML."""

    name = "environment"

    def write_seeds(self, folder):
        """Write one of each form."""
        texts = {
            "fit": 'fit_per_mbit = 130\nexposure = "1y"\n',
            "orbit": 'upsets_per_bit_day = 1e-7\nscrub = "90min"\nread = "average"\n',
            "beam": 'cross_section = 1e-14\nflux = 13\nflux_multiplier = 300\nexposure = "30d"\n',
        }
        for name, text in texts.items():
            (folder / name).mkdir()
            (folder / name / "e.toml").write_text(text)

    def read(self, folder):
        """Compute all that is made of it."""
        found = Environment.from_toml(folder / "e.toml")
        assert found.to_dict()
        assert 0 <= found.rate <= 1
        found.expected_flips(10**6)
        found.device_fit(10**6)


class ProtectionPlans(Target):
    """A protection plan in TOML."""

    name = "protection-plan"

    def write_seeds(self, folder):
        """Write one of each kind of guard."""
        guards = {
            "secded": 'by = "secded"\nbits = "sign+exponent"\non_detect = "stop"',
            "tmr": 'by = "tmr"\nbits = [28, 30, 31]',
            "range": 'by = "range"\non_detect = "clamp"',
        }
        for name, guard in guards.items():
            (folder / name).mkdir()
            head = "format = 1\nword_bits = 32\ninterleave = 4"
            (folder / name / "plan.toml").write_text(f'{head}\n[[guard]]\ntensors = ["*weight"]\n{guard}\n')

    def read(self, folder):
        """Put a model behind it, and write it again."""
        plan = ProtectionPlan.read(folder / "plan.toml")
        assert ProtectionPlan.from_dict(plan.to_dict()) == plan
        plan.to_toml()
        memory = GuardedMemory(plan, FaultSpace.of(load_model("digits")))
        memory.decode(memory.space.locate(np.array([0, memory.space.bits - 1])))


class Configs(Target):
    """Options of commands in TOML."""

    name = "config"

    def write_seeds(self, folder):
        """Write a file for each of some commands, whose name it has."""
        texts = {
            "inject": 'model = "digits"\ndata = "digits"\nrate = [1e-6, 1e-5]\nrepeats = 3\nthreads = 1\nseed = 3\n'
            'roles = ["weight"]\nmean = [0.1, 0.2]\nfeed = ["sr=16000"]\nstrategy = "live"\nbudget = "9min,50units"\n',
            "gate": 'model = "digits"\ndata = "digits"\nformat = "ieee"\n'
            "confidence = 0.95\n[[goals]]\nmin_accuracy = 0.9\nrate = 1e-6\n"
            '[[goals]]\nmax_sdc = 0.01\nrate = "env"\n',
            "plan": 'model = "digits"\nconfidence = 0.9\n',
            "rate": 'fit_per_mbit = 130\nexposure = "1y"\n',
            "inspect": 'model = "digits"\ninclude = ["conv*"]\nformat = "q15.16"\n',
            "quantize": 'model = "digits"\ndata = "digits"\noutput = "x.onnx"\n',
        }
        for name, text in texts.items():
            assert name in SUMMARIES
            (folder / name).mkdir()
            (folder / name / f"{name}.toml").write_text(text)

    def read(self, folder):
        """Let the command parse its options, and do nothing else."""
        for file in sorted(folder.glob("*.toml")):
            try:
                group = typer.main.get_command(app)
                command = group.get_command(None, file.stem)
                command.make_context(file.stem, ["--config", str(file)])
            except TyperException as error:
                raise Refused(error.format_message()) from error


class Studies(Target):
    """A study in TOML."""

    name = "study"

    def write_seeds(self, folder):
        """Write the example, and one with every table."""
        texts = {
            "example": example(),
            "whole": '[study]\nname = "a"\nseed = 1\nrepeats = 2\nlimit = 8\ntask = "classification:nan=argmax"\n'
            '[models]\na = "digits"\nb = {architecture = "digits", classes = 10, input_shape = [1, 8, 8]}\n'
            '[data.d]\nspec = "digits"\nsplit = "val"\ntuning = {spec = "digits", limit = 4}\n'
            "[faults]\nr = {rate = [1e-6, 1e-5], repeats = 3}\ns = {faults_per_run = 1}\nl = {per_layer = 2}\n"
            '[matrix]\nmodels = ["a"]\nprotect = ["clipact", "none"]\nquantize = ["ptq", "qat"]\n'
            '[[exclude]]\nprotect = "none"\nquantize = ["q*"]\n'
            '[campaign]\nthreads = 1\nbits = [30, 31]\nstrategy = "live"\n'
            "[protection]\niterations = 2\nrates = [1e-6, 1e-5]\n[quantization]\npercentile = 99.9\n"
            "[qat]\nepochs = 1\nlearning_rate = 1e-4\n"
            '[activations]\nrates = [1e-6]\nimages = 8\nhistograms = ["*1*"]\n[log_odds]\nreference = "d"\n',
            "measured": '[study]\nname = "a"\nnote = "n"\n[data]\nd = "digits"\n[activations]\nrates = [1e-6]\n'
            '[models.m]\narchitecture = "digits"\n[models.m.weights]\na = "a-{data}.pth"\nb = ["b.pth", "c.pth"]\n',
        }
        for name, text in texts.items():
            (folder / name).mkdir()
            (folder / name / "s.toml").write_text(text)

    def read(self, folder):
        """Read it; what it names is opened later."""
        found = Study.read(folder / "s.toml")
        cells = (*found.cells, *found.activation_cells)
        assert cells
        assert len({cell.name for cell in cells}) == len(cells)


class Published(Target):
    """Published numbers in CSV."""

    name = "published"

    def write_seeds(self, folder):
        """Write two numbers, one of them quoted."""
        (folder / "two").mkdir()
        (folder / "two" / "numbers.csv").write_text(
            "model,protect,quantize,data,rate,figure,value,images,patterns\n"
            'net,none,ptq,d,1e-6,top1,0.5,360,20\n"net, b",clipact,none,d,0,top5,1,360,0\n'
        )

    def read(self, folder):
        """Read them; all are fractions of some images."""
        for number in read_published(folder / "numbers.csv"):
            assert 0 <= number.value <= 1
            assert 0 <= number.rate <= 1
            assert number.images > 0


class Goals(Target):
    """Goals as texts, and as tables of TOML."""

    name = "goals"

    def write_seeds(self, folder):
        """Write one of each form."""
        (folder / "goals").mkdir()
        texts = ["min-accuracy 1e-6:0.90", "max-drop env:0.02", "--max-sdc=1e-7:0.01", "min_accuracy 0.5"]
        (folder / "goals" / "goals.txt").write_text("\n".join(texts))
        (folder / "tables").mkdir()
        tables = '[[goals]]\nmin_accuracy = 0.9\nrate = 1e-6\n[[goals]]\nmax_drop = 0.1\nrate = "env"\n'
        (folder / "tables" / "goals.toml").write_text(tables)

    def read(self, folder):
        """Read them for an environment."""
        from ftonnx.errors import UsageError
        from ftonnx.files import read_document
        from ftonnx.words import parsed_toml

        place = Environment(upsets_per_bit_day=1e-7, interval=24)
        try:
            written = (
                [Goal.of(line) for line in read_document("goals.txt").splitlines()]
                if (folder / "goals.txt").exists()
                else []
            )
            tables = parsed_toml(read_document("goals.toml"))["goals"] if (folder / "goals.toml").exists() else []
            if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
                return
        except (OSError, ValueError, KeyError) as error:
            if isinstance(error, UsageError):
                raise
            return
        resolve_goals([*written, *map(Goal.of, tables)], place)


class FaultLists(Target):
    """Published lists of faults."""

    name = "fault-list"

    def write_seeds(self, folder):
        """Write one for the embedded model."""
        (folder / "list").mkdir()
        weights = [t for t in FaultSpace.of(load_model("digits")).targets if t.tensor.endswith(".weight")]
        lines = ["Injection,Layer,TensorIndex,Bit"]
        for number, target in enumerate(weights * 2):
            index = tuple(size - 1 for size in target.shape)
            lines.append(f'{number},{target.tensor.removesuffix(".weight")},"{index}",{number % 32}')
        (folder / "list" / "f.csv").write_text("\n".join(lines) + "\n")

    def read(self, folder):
        """Find the faults in the embedded model, and draw the first of them."""
        from ftonnx.inject import unit_rng

        faults = FaultList.read(folder / "f.csv")
        space = FaultSpace.of(load_model("digits"), format="ieee")
        levels = faults.levels(space)
        faults.draw(space, unit_rng(0, levels[0], 0, 0))


class Feeds(Target):
    """Constants in ``.npy`` files."""

    name = "feed"

    def write_seeds(self, folder):
        """Write one of three types."""
        for name, array in {"f": np.zeros((2, 3), np.float32), "i": np.array(16000), "b": np.ones(4, bool)}.items():
            (folder / name).mkdir()
            np.save(folder / name / "c.npy", array)

    def read(self, folder):
        """Read it as the value of an input."""
        Feed.parse("sr=c.npy").stored()
