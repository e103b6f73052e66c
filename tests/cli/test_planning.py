"""``ftonnx plan``, ``ftonnx rate`` and ``ftonnx fit``: what they print, and what they refuse."""

import math
import shlex

import numpy as np
import pytest
from campaign_kit import BASE, cli, cli_json, one_error_line

import ftonnx

DIGITS_BITS = 1_790_784
ORBIT = ("--upsets-per-bit-day", "1e-7")


def refusal(code, *arguments):
    """Return the one line that a command ends with, at this exit code."""
    finished = cli(*arguments)
    assert finished.code == code, finished
    return one_error_line(finished)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """A small campaign at two fault rates."""
    folder = tmp_path_factory.mktemp("campaign") / "r"
    options = ("--limit", "40", "--batch-size", "16", "--repeats", "4", "--rate", "1e-6", "--rate", "1e-4")
    return folder, cli_json("inject", *BASE, *options, "--results", folder)


class TestPlan:
    """How many injections are needed."""

    def test_a_model_is_planned_in_three_ways(self):
        """As JSON and as a table."""
        found = cli_json("plan", "digits", "--margin", "0.05", "--confidence", "0.95")
        assert (found["model"], found["bits"], found["network_wise"]) == ("digits", DIGITS_BITS, 385)
        assert found["layer_wise"] == sum(layer["injections"] for layer in found["layers"])
        assert found["data_unaware"] == sum(layer["injections_per_bit"] for layer in found["layers"])
        text = cli("plan", "digits", "--margin", "0.05", "--confidence", "0.95").out
        assert f"{found['layer_wise']:,}" in text
        assert f"{found['data_unaware']:,}" in text
        assert "conv.weight" not in text

    def test_layers_are_listed_on_request(self):
        """Each stored tensor with its numbers."""
        text = cli("plan", "digits", "--per-layer").out
        assert "block3.conv2.weight" in text
        assert "663,552" in text

    def test_a_population_needs_no_model(self):
        """The field's numbers for ResNet-50, with the cut-off rounded as it does."""
        found = cli_json("plan", "--population", "817825024", "--cutoff", "2.58")
        assert found["network_wise"] == 16_641
        assert cli("plan", "--population", "inf", "--cutoff", "2.58").out.startswith(
            "16,641 injections of endlessly many"
        )

    def test_a_claim_without_failures_has_its_number(self):
        """2,995 injections for a share below .001 at 95 %."""
        options = ("plan", "--population", "1e9", "--confidence", "0.95", "--claim", "0.001")
        assert cli_json(*options)["without_failure"] == 2995
        assert "2,995 injections without a critical one show a share below 0.001" in cli(*options).out

    def test_bits_can_be_chosen(self):
        """Two of 32."""
        assert cli_json("plan", "digits", "--bits", "30-31")["bits"] * 16 == DIGITS_BITS

    @pytest.mark.parametrize(
        ("options", "part"),
        [
            ((), "a model or --population N"),
            (("digits", "--population", "10"), "not both"),
            (("digits", "--margin", "2"), "margin"),
            (("digits", "--confidence", "95"), "0.95"),
            (("digits", "--bits", "x"), "positions from 0 to 63"),
            (("digits", "--bits", "40"), "bits 0 to 31"),
            (("digits", "--bits", "9-3"), "positions from 0 to 63"),
            (("--population", "10", "--claim", "7"), "limit"),
        ],
    )
    def test_senseless_plans_are_refused(self, options, part):
        """One line, exit 2."""
        assert part in refusal(2, "plan", *options)


class TestRate:
    """The fault rate of an environment."""

    def test_low_orbit_with_a_reload_every_90_minutes_is_reproduced(self):
        """3.125e-9 on average; digits then holds .0056 flipped bits."""
        found = cli_json("rate", "digits", *ORBIT, "--scrub", "90min")
        assert found["rate"] == pytest.approx(3.125e-9, rel=1e-6, abs=0)
        assert found["fit_per_mbit"] == pytest.approx(4.1667e6, rel=1e-4)
        assert found["model"] == {"name": "digits", "bits": DIGITS_BITS}
        assert found["expected_flips"] == pytest.approx(DIGITS_BITS * 3.125e-9, rel=1e-6)
        assert found["device_fit"] == pytest.approx(DIGITS_BITS * 1e-7 / 24 * 1e9)
        assert "sea level" in found["plain_words"]

    def test_the_end_of_the_interval_can_be_chosen(self):
        """Twice the average; the default for an exposure."""
        end = cli_json("rate", *ORBIT, "--scrub", "90min", "--end")
        assert end["rate"] == pytest.approx(6.25e-9, rel=1e-6, abs=0)
        assert end["rate"] == cli_json("rate", *ORBIT, "--exposure", "90min")["rate"]
        assert "model" not in end

    def test_all_sources_of_one_environment_agree(self):
        """1000 FIT/Mbit is 1e-12 per hour, 2.4e-11 per day, 1e-13 cm2 at half of 20 particles."""
        sources = (
            ("--fit-per-mbit", "1000"),
            ("--upsets-per-bit-day", "2.4e-11"),
            ("--cross-section", "1e-13", "--flux", "20", "--flux-multiplier", "0.5"),
        )
        rates = [cli_json("rate", *source, "--exposure", "1y")["rate"] for source in sources]
        assert rates == pytest.approx([8.76e-9] * 3, rel=1e-6, abs=0)

    def test_a_file_can_say_it_all(self, tmp_path):
        """And the table names what it says."""
        path = tmp_path / "e.toml"
        path.write_text('fit_per_mbit = 1000\nexposure = "1y"\n')
        text = cli("rate", "digits", "--environment", path).out
        for part in ("1e-12", "8.76e-09", "1,790,784", "0.01569", "1 year", "in low Earth orbit"):
            assert part in text

    def test_a_rate_is_said_to_be_no_measurement(self):
        """With what measures: the rate itself, or single faults where most runs would meet none."""
        often = cli("rate", "digits", *ORBIT, "--exposure", "30d").out
        assert "No harm is measured here. To measure it: ftonnx inject digits --data SPEC --rate 3e-06\n" in often
        rarely = cli("rate", "digits", *ORBIT, "--scrub", "90min").out
        assert "what one does: ftonnx inject digits --data SPEC --faults-per-run 1\n" in rarely
        assert "ftonnx inject" not in cli("rate", *ORBIT, "--scrub", "90min").out

    @pytest.mark.parametrize(
        ("options", "part"),
        [
            (("--scrub", "1h"), "exactly one of"),
            (ORBIT, "how long the memory collects upsets"),
            ((*ORBIT, "--scrub", "1h", "--exposure", "1h"), "not both"),
            ((*ORBIT, "--scrub", "soon"), "length of time"),
            ((*ORBIT, "--environment", "e.toml"), "says everything"),
            (("--environment", "missing.toml"), "missing.toml"),
        ],
    )
    def test_senseless_environments_are_refused(self, options, part):
        """One line, exit 2."""
        assert part in refusal(2, "rate", *options)


class TestFit:
    """Failures in time."""

    def test_resnet50_in_new_york_is_reproduced(self):
        """5 % of 106,317 FIT; 99.81 % coverage for 10 FIT."""
        options = ("--sdc", "0.05", "--memory-bits", "817825024", "--cross-section", "1e-14", "--flux", "13")
        found = cli_json("fit", *options, "--budget-fit", "10")
        assert found["sdc_fit"] == pytest.approx(5316, abs=0.5)
        assert found["coverage_needed"] == pytest.approx(0.9981, abs=5e-5)
        assert found["mttf_hours"] == pytest.approx(1e9 / found["sdc_fit"])
        text = cli("fit", *options, "--budget-fit", "10").out
        assert "5,316" in text
        assert "99.81 %" in text

    def test_a_campaign_at_rates_gives_the_time_between_mispredictions(self, campaign):
        """By the upper limit at the next tested rate."""
        folder, found = campaign
        fit = cli_json("fit", folder, *ORBIT, "--exposure", "30d", "--inferences-per-hour", "3600")
        assert fit["rate"] == pytest.approx(3e-6, rel=1e-4, abs=0)
        assert fit["tested_rate"] == 1e-4
        assert fit["probability"] == found["rates"][1]["sdc1"]["high"]
        assert fit["hours_between"] == pytest.approx(1 / (3600 * fit["probability"]))
        low = cli_json("fit", folder, *ORBIT, "--scrub", "90min", "--inferences-per-hour", "3600")
        assert low["tested_rate"] == 1e-6

    @pytest.mark.parametrize(
        ("time", "tested", "times", "part"),
        [
            (
                ("--scrub", "90min"),
                1e-6,
                "320",
                "3.125e-09 is below every tested rate: this is the upper limit measured at 1e-06",
            ),
            (
                ("--exposure", "30d"),
                1e-4,
                "33",
                "3e-06 lies between two tested rates, 1e-06 and 0.0001: this is the upper limit",
            ),
        ],
    )
    def test_a_limit_of_another_rate_is_named_with_the_gap_and_the_command_that_closes_it(
        self, campaign, time, tested, times, part, tmp_path
    ):
        """The printed command, run as it stands, measures at the environment's rate, and then no gap is left."""
        folder, _ = campaign
        options = (*ORBIT, *time, "--inferences-per-hour", "3600")
        found = cli_json("fit", folder, *options)
        assert not found["measured"]
        assert found["factor"] == pytest.approx(tested / found["rate"])
        text = cli("fit", folder, *options).out
        for said in (
            part,
            f"with {times} times as many flips",
            "pessimistic by an amount that was not measured",
        ):
            assert said in found["note"]
        assert found["note"] in text
        assert f"To measure there (more patterns narrow the limit): {found['command']}\n" in text
        command = shlex.split(found["command"])
        assert command[:2] == ["ftonnx", "inject"]
        for setting in (("--repeats", "4"), ("--limit", "40"), ("--batch-size", "16"), ("--data", "digits")):
            assert command[command.index(setting[0]) + 1] == setting[1]
        assert cli(*command[1:], "--results", tmp_path / "there").code == 0
        there = cli_json("fit", tmp_path / "there", *options)
        assert there["measured"]
        assert (there["note"], there["command"]) == (None, None)
        assert "To measure there" not in cli("fit", tmp_path / "there", *options).out

    def test_where_most_runs_would_meet_no_flip_injections_are_advised(self, campaign):
        """.0056 flips per run of 1.8 million bits; at 3e-6 there are five."""
        options = ("--inferences-per-hour", "3600")
        low = cli_json("fit", campaign[0], *ORBIT, "--scrub", "90min", *options)
        assert "a run meets 0.0056 flips on average, so injections (--faults-per-run 1)" in low["note"]
        assert "injections" not in cli_json("fit", campaign[0], *ORBIT, "--exposure", "30d", *options)["note"]

    def test_a_rate_above_the_tested_ones_is_refused_with_the_command_that_measures_there(self, campaign, tmp_path):
        """Which leads to an answer."""
        options = (*ORBIT, "--exposure", "90y", "--inferences-per-hour", "1")
        line = refusal(2, "fit", campaign[0], *options)
        assert "0.003274 is above the highest tested one, 0.0001, by a factor of 33" in line
        command = shlex.split(line.split("measure there: ")[1])
        assert command[command.index("--rate") + 1] == "0.003275"
        assert cli(*command[1:], "--results", tmp_path / "there").code == 0
        assert cli_json("fit", tmp_path / "there", *options)["measured"]

    def test_without_a_command_only_the_program_can_measure(self, tmp_path):
        """Images from memory have no spec."""
        data = [(np.zeros((4, 1, 8, 8), np.float32), np.arange(4))]
        ftonnx.evaluate("digits", data, rates=[1e-5], repeats=2, strategy="live", results=tmp_path / "r")
        options = (tmp_path / "r", *ORBIT, "--exposure", "1h", "--inferences-per-hour", "1")
        assert cli_json("fit", *options)["command"] is None
        assert "the Python program that handed over model and data, with rates=[...]" in cli("fit", *options).out

    def test_several_upsets_at_a_time_are_not_what_single_faults_have_measured(self, tmp_path):
        """Five flips per month are to be expected together; with a reload every 90 minutes it is hardly ever two."""
        options = ("--limit", "20", "--batch-size", "20", "--faults-per-run", "1", "--repeats", "3")
        cli("inject", *BASE, *options, "--results", tmp_path / "r")
        found = cli_json("fit", tmp_path / "r", *ORBIT, "--exposure", "30d")
        assert found["flips_at_a_time"] == pytest.approx(DIGITS_BITS * 3e-6, rel=1e-4)
        assert "5.37 flipped bits at a time are to be expected" in found["note"]
        command = shlex.split(found["command"])
        assert command[command.index("--rate") + 1] == "3e-06"
        assert not {"--faults-per-run", "--repeats"} & set(command)
        assert cli(*command[1:], "--dry-run").code == 0
        assert found["note"] in cli("fit", tmp_path / "r", *ORBIT, "--exposure", "30d").out
        alone = cli_json("fit", tmp_path / "r", *ORBIT, "--scrub", "90min")
        assert (alone["note"], alone["command"]) == (None, None)
        by_number = ("--sdc", "0.1", "--memory-bits", "1000000", *ORBIT)
        assert cli_json("fit", *by_number, "--exposure", "30d")["command"] == (
            "ftonnx inject MODEL --data SPEC --rate 3e-06"
        )
        assert cli_json("fit", *by_number)["flips_at_a_time"] is None

    @pytest.mark.parametrize(
        ("options", "part"),
        [
            (("--exposure", "30d"), "--inferences-per-hour"),
            (("--exposure", "90y", "--inferences-per-hour", "1"), "above the highest tested one"),
            (("--budget-fit", "10"), "--faults-per-run 1"),
            (("--inferences-per-hour", "1"), "how long the memory collects upsets"),
            (("--sdc", "0.1"), "without a results folder"),
        ],
    )
    def test_questions_that_a_campaign_cannot_answer_are_refused(self, campaign, options, part):
        """One line that says what would answer them."""
        assert part in refusal(2, "fit", campaign[0], *ORBIT, *options)

    def test_without_results_both_numbers_are_needed(self, tmp_path):
        """And a folder without a campaign is refused as such."""
        assert "--memory-bits" in refusal(2, "fit", *ORBIT, "--sdc", "0.1")
        assert refusal(4, "fit", tmp_path, *ORBIT)
        assert "probabilities" in refusal(2, "fit", *ORBIT, "--sdc", "7", "--memory-bits", "9")

    def test_a_single_fault_campaign_gives_failures_in_time(self, tmp_path):
        """By the upper limit of SDC-1 over injections, for the bits of its own fault space."""
        options = ("--limit", "20", "--batch-size", "20", "--faults-per-run", "1", "--repeats", "30")
        found = cli_json("inject", *BASE, *options, "--results", tmp_path / "r")
        fit = cli_json("fit", tmp_path / "r", "--fit-per-mbit", "1000", "--budget-fit", "1")
        assert (fit["bits"], fit["sdc"]) == (DIGITS_BITS, found["rates"][0]["sdc1"]["high"])
        assert fit["sdc_fit"] == pytest.approx(DIGITS_BITS * 1e-3 * fit["sdc"])
        assert 0 < fit["sdc"] < 0.5

    def test_injections_that_are_not_drawn_from_all_bits_alike_are_refused(self, tmp_path):
        """Two faults at a time are not one upset."""
        options = ("--limit", "20", "--batch-size", "20", "--faults-per-run", "2", "--repeats", "3")
        assert cli("inject", *BASE, *options, "--results", tmp_path / "r").code == 0
        assert "--per-layer or --exhaustive" in refusal(2, "fit", tmp_path / "r", "--fit-per-mbit", "1")


def test_single_faults_are_printed_with_intervals_and_ranked_as_far_as_these_tell(tmp_path):
    """A few random injections separate nothing; every bit of a tensor is an exact order."""
    options = ("--limit", "20", "--batch-size", "20")
    few = cli("inject", *BASE, *options, "--faults-per-run", "1", "--repeats", "40", "--results", tmp_path / "few").out
    assert "95 % interval" in few.split("bit ")[1]
    assert "the ranking of bits is not separable: " in few
    assert "the ranking of tensors is not separable: " in few
    every = cli(
        "inject", *BASE, *options, "--exhaustive", "--include", "linear.bias", "--results", tmp_path / "all"
    ).out
    assert "\nbit 31 does more harm than any other\n" in every
    assert "\nonly tensor linear.bias was hit\n" in every


def test_inject_takes_its_rate_from_an_environment(tmp_path):
    """In place of --rate, and never beside it."""
    orbit = tmp_path / "orbit.toml"
    orbit.write_text('upsets_per_bit_day = 1e-4\nexposure = "1d"\n')
    options = ("inject", *BASE, "--repeats", "2", "--environment", str(orbit))
    (found,) = cli_json(*options)["rates"]
    assert found["rate"] == pytest.approx(0.5 * (1 - math.exp(-2e-4)), rel=1e-9)
    assert "no --rate was expected" in refusal(2, *options, "--rate", "1e-6")
