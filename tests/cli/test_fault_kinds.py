"""Fault models on the command line: what is asked for is run, shown, written down and asked for again."""

import json
import shlex
from pathlib import Path

import pytest
from campaign_kit import BASE, cli

from ftonnx.campaign import CampaignResult
from ftonnx.inject import Accumulation, AsymmetricRates, Bursts, StuckCount, StuckRates, ValueRates
from ftonnx.report.command import repeat_command

QUICK = (*BASE, "--limit", 16, "--repeats", 2)
ORBIT = 'upsets_per_bit_day = 1e-6\nscrub = "30d"\nsizes = "1:0.9,3:0.1"\nalong = "words"\n'

ASKED = {
    "--stuck-rate 1e-5 --stuck-rate 1e-4 --stuck-at 1": StuckRates((1e-5, 1e-4), 1),
    "--stuck-per-run 3": StuckCount(3),
    "--rate-1to0 1e-4 --rate-1to0 1e-5 --rate-0to1 1e-7": AsymmetricRates((1e-5, 1e-4), 1e-7),
    "--rate-0to1 1e-5": AsymmetricRates(0.0, 1e-5),
    "--value-rate 1e-4 --value random": ValueRates(1e-4, "random"),
    "--value-rate 1e-4 --value -0.5": ValueRates(1e-4, -0.5),
    "--over 1d,90min --over 6h --upsets-per-bit-day 1e-6 --scrub 1d": Accumulation("90min,6h,1d", 1e-6, scrub="1d"),
    "--over 1d --upsets-per-bit-day 1e-6 --burst-sizes 2 --burst-along words": Accumulation("1d", 1e-6, 2, "words"),
    "--burst-rate 1e-5 --burst-sizes 4 --burst-along block --memory words=32,columns=64": Bursts(
        1e-5, 4, "block", "words=32,columns=64"
    ),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_for_is_recorded_and_asked_for_again(asked, tmp_path):
    """The output fits its schema, and the command that repeats it names the same faults."""
    done = cli("inject", "digits", *QUICK, *shlex.split(asked), "--results", tmp_path / "r", "--json")
    assert done.code == 0, done.err
    found = CampaignResult.open(tmp_path / "r")
    assert found.faults == ASKED[asked]
    assert json.loads(done.out)["faults"] == ASKED[asked].to_dict()
    command = shlex.split(repeat_command(found))
    assert cli(*command[1:], "--results", tmp_path / "r").err.count("nothing is left to run") == 1


@pytest.mark.parametrize("asked", ASKED)
def test_people_are_told_how_faults_come(asked):
    """Above the table, and in a forecast."""
    for more in ((), ("--dry-run",)):
        done = cli("inject", "digits", *QUICK, *shlex.split(asked), *more)
        assert done.code == 0, done.err
        assert ASKED[asked].note in done.out


def test_times_stand_beside_rates(tmp_path):
    """With what is lost between them, in the table and in the report."""
    over = ("--over", "1h,6h,24h", "--upsets-per-bit-day", 1e-5)
    done = cli("inject", "digits", *QUICK, *over, "--results", tmp_path / "r", "--report", tmp_path / "r.html")
    rows = [line.split()[:2] for line in done.out.splitlines() if line.split()[:1] in (["1h"], ["6h"], ["1d"])]
    assert rows == [["1h", "4.16666e-07"], ["6h", "2.49999e-06"], ["1d", "9.9999e-06"]]
    assert "top-1 from 1h to 6h: " in done.out
    assert "mean top-1 from loading to 1d: " in done.out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "4.1667e-7 (1h)" in page
    assert "Over time, by the same histories" in page
    assert 'data-title=""' not in page  # on phones every cell has its title beside it


def test_a_report_tells_no_time_after_which_bits_are_stuck(tmp_path):
    """Upsets come to a rate with time; rates of other faults are no number of upsets."""
    for name, asked in {"flips": ("--rate", 1e-4), "stuck": ("--stuck-rate", 1e-4)}.items():
        done = cli("inject", "digits", *QUICK, *asked, "--report", tmp_path / f"{name}.html")
        assert done.code == 0, done.err
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert ("How often this happens" in page) == (name == "flips")


def test_an_environment_gives_rate_multiplicity_and_scrub_interval_at_once(tmp_path, monkeypatch):
    """Alone its rate, in bursts; with times its upsets as they accumulate, up to the next scrub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orbit.toml").write_text(ORBIT, encoding="utf-8")
    at_rate = cli("inject", "digits", *QUICK, "--environment", "orbit.toml", "--json")
    # 1e-6 upsets a day over half of 30 days, of 1.2 bits each
    (rate,) = json.loads(at_rate.out)["faults"]["rates"]
    assert rate == pytest.approx(1.8e-5, rel=1e-4)
    assert json.loads(at_rate.out)["faults"]["along"] == "words"
    over = cli("inject", "digits", *QUICK, "--environment", "orbit.toml", "--over", "1d,30d", "--json")
    assert json.loads(over.out)["faults"] == {
        "name": "accumulation",
        "hours": [24.0, 720.0],
        "upsets_per_bit_day": 1e-6,
        "sizes": "1:0.9,3:0.1",
        "along": "words",
        "scrub": 720.0,
    }
    assert [each["rate"] for each in json.loads(over.out)["rates"]] == pytest.approx([1.2e-6, 3.6e-5], rel=1e-4)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--over 31d --environment orbit.toml", "the memory is loaded again every 30d"),
        ("--over 1d --burst-sizes 2 --environment orbit.toml", "gives the rate: no --burst-sizes was expected"),
        ("--rate 1e-6 --environment orbit.toml", "gives the rate: no --rate was expected"),
        ("--over 1d", "--upsets-per-bit-day was expected too, beside --over"),
        ("--over 1d --upsets-per-bit-day 1e-6 --burst-along words", "--burst-sizes was expected too, beside --burst-"),
        ("--burst-sizes 2", "says what flips; got --burst-sizes"),
        ("--stuck-at 1", "says what flips; got --stuck-at"),
        ("--rate 1e-6 --scrub 1d", "says what flips; got --rate and --scrub"),
        ("--value-rate 1e-6", "--value was expected too, beside --value-rate"),
        ("--value-rate 1e-6 --value huge", "zero, random or a finite number was expected"),
        ("--burst-rate 1e-6 --burst-sizes 2 --burst-along row", "a map of the memory belongs to neighbours along row"),
        ("--rate-1to0 2", "0 to 1 was expected; got 2"),
        ("--over soon --upsets-per-bit-day 1", "a length of time such as 90min"),
        (
            "--burst-rate 1e-6 --burst-sizes 2 --burst-along row --memory words=32,columns=40",
            "--memory: rows of whole groups of words were expected, columns as a multiple of 32",
        ),
        (
            "--burst-rate 1e-6 --burst-sizes 2 --burst-along row --memory words=0,columns=40",
            "--memory: words: a whole number from 1",
        ),
        # 0 is given too
        ("--faults-per-run 0", "--faults-per-run: a whole number from 1"),
        ("--per-layer 0", "--per-layer: a whole number from 1"),
        ("--stuck-per-run 0", "--stuck-per-run: a whole number from 1"),
        ("--over 1d --upsets-per-bit-day 0", "upsets per bit and day above 0"),
        ("--faults-per-run 0 --rate 1e-6", "says what flips; got --rate and --faults-per-run"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(asked, said, tmp_path, monkeypatch):
    """Before anything is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orbit.toml").write_text(ORBIT, encoding="utf-8")
    done = cli("inject", "digits", *QUICK, *shlex.split(asked))
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1


class TestUpsetsOfSeveralBits:
    """What asks about an environment whose upsets are bursts."""

    @pytest.fixture
    def orbit(self, tmp_path, monkeypatch):
        """Its file, in the current folder."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "orbit.toml").write_text(ORBIT, encoding="utf-8")

    def test_rate_counts_bits_and_shows_the_bursts(self, orbit):
        """And what measures their harm."""
        done = cli("rate", "digits", "--environment", "orbit.toml")
        assert "bits that an upset flips, mean" in done.out
        assert "--burst-rate 1.8e-05 --burst-sizes 1:0.9,3:0.1 --burst-along words" in done.out
        facts = json.loads(cli("rate", "digits", "--environment", "orbit.toml", "--json").out)
        assert facts["environment"]["sizes"] == "1:0.9,3:0.1"
        assert facts["expected_flips"] == pytest.approx(facts["model"]["bits"] * facts["rate"])
        # upsets, not bits
        assert facts["device_fit"] == pytest.approx(1e-6 / 24 * facts["model"]["bits"] * 1e9)

    def test_single_flips_tell_nothing_of_them(self, orbit):
        """A campaign of such, at rates or one by one, is refused with the command that measures."""
        assert cli("inject", "digits", *QUICK, "--rate", 1e-4, "--results", "rates").code == 0
        assert cli("inject", "digits", *QUICK, "--faults-per-run", 1, "--results", "single").code == 0
        for results in ("rates", "single"):
            done = cli("fit", results, "--environment", "orbit.toml", "--inferences-per-hour", 1)
            assert done.code == 2
            assert "--burst-rate 1.8e-05 --burst-sizes 1:0.9,3:0.1 --burst-along words" in done.err

    def test_bursts_alike_are_taken(self, orbit):
        """Of whatever rate is not below theirs."""
        bursts = ("--burst-sizes", "1:0.9,3:0.1", "--burst-along", "words")
        assert cli("inject", "digits", *QUICK, "--burst-rate", 1e-4, *bursts, "--results", "bursts").code == 0
        done = cli("fit", "bursts", "--environment", "orbit.toml", "--inferences-per-hour", 1, "--json")
        assert json.loads(done.out)["tested_rate"] == 1e-4

    def test_injections_are_advised_where_they_would_be_taken(self, orbit):
        """In environments of few flips, if these come alone."""
        for results, faults, sizes in (("alone", "--rate", "1"), ("bursts", "--burst-rate", "2")):
            shape = () if sizes == "1" else ("--burst-sizes", sizes)
            assert cli("inject", "digits", *QUICK, faults, 1e-4, *shape, "--results", results).code == 0
            place = f'upsets_per_bit_day = 1e-10\nexposure = "1d"\nsizes = "{sizes}"\n'
            Path("rare.toml").write_text(place, encoding="utf-8")
            done = cli("fit", results, "--environment", "rare.toml", "--inferences-per-hour", 1, "--json")
            assert ("--faults-per-run 1" in json.loads(done.out)["note"]) is (sizes == "1")

    def test_a_gate_meets_them_at_all_goals_rates(self, orbit):
        """And says so."""
        options = ("--format", "ieee", "--environment", "orbit.toml", "--min-accuracy", "env:0.1", "--budget", "8units")
        done = cli("gate", "digits", "--data", "digits", "--limit", 64, *options)
        bursts = "flips come in bursts of 1 (90 %) or 3 (10 %) bits at the same place of neighbouring elements"
        assert bursts in done.out
        verdict = json.loads(cli("gate", "digits", "--data", "digits", "--limit", 64, *options, "--json").out)
        assert verdict["faults"].startswith("flips come in bursts")

    def test_reports_do_not_decide_by_other_flips(self, orbit):
        """Neither by single flips at rates, nor by injections of one."""
        assert cli("inject", "digits", *QUICK, "--rate", 1e-4, "--results", "rates").code == 0
        assert cli("inject", "digits", *QUICK, "--faults-per-run", 1, "--results", "single").code == 0
        for results, said in (("rates", "other flips than the environment"), ("single", "several bits there")):
            done = cli("report", results, "-o", f"{results}.html", "--environment", "orbit.toml")
            assert done.code == 0, done.err
            page = Path(f"{results}.html").read_text(encoding="utf-8")
            assert said in page
            assert "undecided" in page
