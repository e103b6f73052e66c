"""Campaigns behind a protection plan: what the model runs with, what is recorded, and what stays as it was."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from campaign_kit import COUNTS, DIGITS, cli, cli_json, counts, digits_batches, faults, naive_outcomes, session
from guards_kit import Secded, check_places, words_of

import ftonnx
from ftonnx import BitFlipRates, FaultCount, Guard, ProtectionPlan, Settings
from ftonnx.campaign import Campaign, CampaignResult, Schedule
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.results import guarded
from ftonnx.campaign.results.guarded import guarded_runs, recorded_guarded_runs
from ftonnx.errors import ModelError, StoreError, UsageError
from ftonnx.inject import EveryBit, PerLayer, load_model
from ftonnx.report import build
from ftonnx.report.command import repeat_command

FAST = {"strategy": "live", "threads": 1, "format": "ieee", "batch_size": 20}
SECDED = ProtectionPlan([Guard("*", "secded")])
RATE = 1e-4
STOP = ProtectionPlan([Guard("*", "duplication", "sign+exponent", "stop")], word_bits=32, interleave=2)


def run(plan, folder=None, *, flips=None, data=None, **settings):
    """Run a small campaign on the embedded model."""
    used = {"repeats": 2, "protection": plan} | FAST | settings
    return ftonnx.evaluate(
        "digits", data or digits_batches(20, 40), faults=flips or BitFlipRates(RATE), results=folder, **used
    )


@pytest.fixture(scope="module")
def secded(tmp_path_factory):
    """A campaign with every bit behind SECDED."""
    return run(SECDED, tmp_path_factory.mktemp("secded") / "r", flips=BitFlipRates(5e-4))


def test_recorded_outcomes_are_those_of_what_a_textbook_decoder_leaves(secded, tmp_path):
    """Every flip in the memory is listed; a naive decoder of these gives the saved model, and this the outcomes."""
    textbook = Secded(64)
    batches = digits_batches(20, 40)
    golden = [session(DIGITS, live=True).run(None, {"input": images})[0] for images, _ in batches]
    elements = {tensor.tensor: tensor.elements for tensor in secded.fault_space.tensors if tensor.role != "check"}
    for (rate, repeat, batch), row in counts(secded.results).items():
        unit = ftonnx.replay(secded.results, rate=rate, repeat=repeat, batch=batch)
        assert len(unit.protection.flips) == row["n_faults"]
        flips = {}
        for tensor, element, bit in unit.protection.flips:
            flips.setdefault(tensor, set()).add((element, bit))
        expected = set()
        for tensor, count in elements.items():
            expected |= {(tensor, *place) for place in left_of(textbook, count, tensor, flips)}
        # the usual action: all elements of a detected word are zero
        zeroed = {(tensor, element) for tensor, element, bit in expected if bit is None}
        unit.save_model(tmp_path / "faulty.onnx")
        values, before = stored(tmp_path / "faulty.onnx"), stored(DIGITS)
        for tensor in elements:
            wanted = before[tensor].copy()
            for name, element, bit in expected:
                if name == tensor and (name, element) not in zeroed:
                    wanted.view(np.uint32)[element] ^= np.uint32(1 << bit)
            wanted[[element for name, element in zeroed if name == tensor]] = 0
            assert values[tensor].tobytes() == wanted.tobytes()
        images, labels = batches[batch]
        outputs = session(tmp_path / "faulty.onnx", live=True).run(None, {"input": images})[0]
        assert naive_outcomes(outputs, golden[batch], labels) == {name: row[name] for name in COUNTS}


def left_of(textbook, elements, tensor, flips):
    """Yield (element, bit) of what is left wrong, (element, None) of detected words; codes are linear: data are 0."""
    words = words_of(32 * elements, 64, 1)
    own = flips.get(f"{tensor} (secded)", set())
    mine = flips.get(tensor, set())
    hit = {(32 * element + bit) // 64 for element, bit in mine} | {word for word, _ in own}
    for word in hit:
        places = [divmod(number, 32) for number in words[word]]
        data = [int(place in mine) for place in places]
        checks = [int((word, check) in own) for check in range(8)]
        after, said = textbook.decode(data, checks)
        for (element, bit), one in zip(places, after, strict=True):
            if said == "detected":
                yield element, None
            elif one:
                yield element, bit


def stored(path):
    """Return the tensors of a model file by name, flat."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    return {each.name: numpy_helper.to_array(each).ravel().copy() for each in graph.initializer}


def test_check_places_lie_word_by_word_without_interleaving():
    """What the oracle above takes for granted."""
    assert check_places([[0], [1]], 3, 1) == [[0, 1, 2], [3, 4, 5]]


def test_a_stopped_run_is_a_detected_error(tmp_path):
    """All images of it count as DUE; without a difference between the copies it runs as ever."""
    found = run(STOP, tmp_path / "r", flips=BitFlipRates(3e-6), repeats=20)
    stopped = 0
    for (rate, repeat, batch), row in counts(found.results).items():
        unit = ftonnx.replay(found.results, rate=rate, repeat=repeat, batch=batch)
        in_copies = [bit for name, _, bit in unit.protection.flips if "duplication" in name]
        in_exponents = [bit for name, _, bit in unit.protection.flips if "duplication" not in name and bit >= 23]
        is_stopped = bool(in_copies or in_exponents)
        assert unit.protection.decoded.stopped == is_stopped
        assert any("stopped this run" in warning for warning in unit.warnings) == is_stopped
        if is_stopped:
            assert row["due"] == row["n"]
        stopped += is_stopped
    assert 0 < stopped < 40
    assert found.rates[0]["due"].mean == pytest.approx(stopped / 40)


def test_results_do_not_depend_on_processes_and_pieces(tmp_path):
    """Two worker processes, and a campaign that goes on, have the units of one that ran at once."""
    plan = ProtectionPlan([Guard("*", "parity", "sign+exponent"), Guard("*weight", "range")])
    whole = run(plan, tmp_path / "whole", repeats=3)
    run(plan, tmp_path / "jobs", repeats=3, jobs=2)
    run(plan, tmp_path / "grown", repeats=1)
    run(plan, tmp_path / "grown", repeats=3)
    assert counts(tmp_path / "jobs") == counts(whole.results) == counts(tmp_path / "grown")


def test_a_folder_belongs_to_its_plan(tmp_path):
    """Another plan, none, or one where none was is refused; the message says both."""
    run(SECDED, tmp_path / "r")
    run(None, tmp_path / "plain")
    other = ProtectionPlan([Guard("*", "secded", on_detect="reload")])
    with pytest.raises(StoreError, match=r"recorded with protection by secded of .*, asked for no protection: give"):
        run(None, tmp_path / "r")
    with pytest.raises(StoreError, match=r"recorded with no protection, asked for protection by secded of .*: give no"):
        run(SECDED, tmp_path / "plain")
    with pytest.raises(StoreError, match=r"recorded .*: zero \(.*, asked for protection by .*: reload \(.*: give"):
        run(other, tmp_path / "r")


def test_a_campaign_without_a_plan_is_what_it_was(tmp_path):
    """No key more in its folder and in what decides its counts, so that folders of earlier versions go on."""
    found = run(None, tmp_path / "r")
    recorded = json.loads(Path(found.results, "campaign.json").read_text())
    assert "protection" not in recorded["identity"]["settings"]
    assert "protection" not in found.settings.deciding()
    assert "protection" not in found.to_dict()["settings"]
    assert Settings.from_dict(recorded["identity"]["settings"]).protection is None


def test_the_plan_is_recorded(secded):
    """As its file has it; the fault space holds the check bits, and says whose they are."""
    recorded = json.loads(Path(secded.results, "campaign.json").read_text())
    assert recorded["identity"]["settings"]["protection"] == SECDED.to_dict()
    again = ftonnx.CampaignResult.open(secded.results)
    assert again.settings.protection == SECDED
    stored = [tensor for tensor in again.fault_space.tensors if tensor.role != "check"]
    checks = [tensor for tensor in again.fault_space.tensors if tensor.role == "check"]
    assert [tensor.tensor for tensor in checks] == [f"{tensor.tensor} (secded)" for tensor in stored]
    assert [tensor.bits for tensor in checks] == [8 * -(-tensor.bits // 64) for tensor in stored]
    assert again.fault_space.bits == sum(tensor.bits for tensor in (*stored, *checks))


def test_plans_that_act_differently_meet_the_same_flips(secded, tmp_path):
    """They are compared pattern by pattern, as their memories have the same bits."""
    other = ProtectionPlan([Guard("*", "secded", on_detect="reload")])
    found = run(other, tmp_path / "r", flips=BitFlipRates(5e-4))
    (model,) = ftonnx.compare([secded.results, found.results]).models
    assert model.pairing == "faults"


@pytest.mark.parametrize("flips", [FaultCount(3), EveryBit(), PerLayer(5)], ids=["count", "every", "layers"])
def test_injections_hit_check_bits_too(tmp_path, flips):
    """They are recorded as drawn, in the memory, and a single flip does nothing behind SECDED."""
    plan = ProtectionPlan([Guard("linear.bias", "secded")])
    repeats = {"repeats": 30} if isinstance(flips, FaultCount) else {}
    found = run(plan, tmp_path / "r", flips=flips, include=["linear.bias"], **({"repeats": None} | repeats))
    drawn = faults(found.results)
    names = [tensor.tensor for tensor in found.fault_space.tensors]
    assert names == ["linear.bias", "linear.bias (secded)"]
    assert {target for _, target, _, _ in drawn} == {0, 1}
    if isinstance(flips, EveryBit):
        assert len(drawn) == 10 * 32 + 5 * 8
    if not isinstance(flips, FaultCount):
        assert found.rates[0]["masked"].mean == 1


def test_words_are_counted_by_drawing_patterns_again(tmp_path):
    """The sum over the units, one by one; of injections each pattern once."""
    for flips, patterns in ((BitFlipRates(1e-3), 4), (FaultCount(50), 2)):
        settings = Settings(repeats=2, protection=SECDED, **FAST)
        campaign = Campaign(load_model("digits"), ftonnx.load_dataset("digits", limit=40), flips, settings=settings)
        result = campaign.run()
        (runs,) = guarded_runs(result, campaign.schedule)
        assert runs.patterns == patterns
        corrected = 0
        for unit in sorted({(row[1], row[2] if patterns == 4 else 0) for row in counts(result.results)}):
            found = ftonnx.replay(result.results, repeat=unit[0], batch=unit[1])
            corrected += found.protection.decoded.words.corrected
        assert runs.words.corrected == corrected
        assert runs.means["corrected"] == corrected / patterns
        assert recorded_guarded_runs(CampaignResult.open(result.results)) == [runs]


def test_patterns_of_many_flips_are_drawn_again_less_often(secded, monkeypatch):
    """About a thousand flips each: two patterns where two thousand flips are drawn at most, and never none."""
    monkeypatch.setattr(guarded, "_FEWEST", 1)
    for flips, patterns in ((10**6, 4), (2100, 2), (10, 1)):
        monkeypatch.setattr(guarded, "_MOST_FLIPS", flips)
        (runs,) = recorded_guarded_runs(secded)
        assert runs.patterns == patterns
        assert runs.means["corrected"] == pytest.approx(1000, rel=0.2)


def test_pooled_seeds_have_the_words_of_each(tmp_path):
    """A pattern comes from its own seed: the sums of a pool are those of its parts."""
    parts = [run(SECDED, tmp_path / str(seed), seed=seed, repeats=1) for seed in (1, 2)]
    pooled = ftonnx.merge([part.results for part in parts], tmp_path / "pooled", pool_seeds=True)
    (whole,) = recorded_guarded_runs(CampaignResult.open(pooled.results))
    first, second = [recorded_guarded_runs(part)[0] for part in parts]
    assert whole.words == first.words + second.words
    assert first.words != second.words


def test_a_plan_for_another_model_is_refused(tmp_path):
    """By its SHA-256, whose line can be taken out of the file."""
    plan = ProtectionPlan([Guard("*", "parity")], model="0" * 64)
    with pytest.raises(UsageError, match=r"made for another model .SHA-256 0000.*take the line model out"):
        run(plan)
    plan.save(tmp_path / "plan.toml")
    read = ProtectionPlan.read(tmp_path / "plan.toml")
    with pytest.raises(UsageError, match=r"plan\.toml: the protection plan was made for another model"):
        run(read)
    assert read == plan
    own = ProtectionPlan([Guard("*", "parity")], model=load_model("digits").sha256)
    assert run(own, repeats=1).complete


def test_something_else_than_a_plan_is_refused():
    """Such as the name of its file."""
    with pytest.raises(UsageError, match=r"`protection`: a plan such as ProtectionPlan\.read"):
        Settings(protection="plan.toml")


def test_the_command_line_reads_prints_and_repeats(tmp_path, monkeypatch):
    """The plan, its cost, its words and what is left are printed; the results folder knows the plan."""
    monkeypatch.chdir(tmp_path)
    SECDED.save("plan.toml")
    base = ("inject", "--limit", 16, "--rate", 1e-3, "--repeats", 1, "--strategy", "live", "--threads", 1)
    printed = cli(*base, "--protection", "plan.toml", "--results", "r")
    assert printed.code == 0
    assert "check bits (12.50 % of the bits stored), which N counts; words of 64 bits" in printed.out
    assert "secded of *: 1,790,784 bits + 223,848, what is detected: zero" in printed.out
    assert "words per run, mean:" in printed.out
    found = cli_json(*base, "--protection", "plan.toml", "--results", "r")
    assert found["settings"]["protection"] == SECDED.to_dict()
    assert found["protection"]["cost"]["check_bits"] == 223_848
    (runs,) = found["protection"]["runs"]
    assert runs["corrected"] > 1000
    listed = cli("faults", "r", "--repeat", 0)
    assert "left in the model by guards, of" in listed.out
    assert "corrected" in listed.out.splitlines()[-3]
    (tmp_path / "plan.toml").unlink()
    went_on = cli("inject", "--results", "r", "--repeats", 2)
    assert went_on.code == 0
    assert "--protection r" in went_on.err
    assert ftonnx.CampaignResult.open("r").settings.protection == SECDED
    assert cli_json("gate", "digits", "--data", "digits", "--limit", 16, "--format", "q15.16", "--max-sdc", "1e-6:0.5",
                    "--protection", "r")["protection"]["check_bits"] == 223_848  # fmt: skip


def test_the_command_line_refuses_in_one_line(tmp_path, monkeypatch):
    """A file that is no plan, and a plan that does not fit; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text("format = 1\n")
    ProtectionPlan([Guard("w", "tmr")]).save("other.toml")
    for file, message in (
        (".", "error: .: a protection plan, or a folder of results recorded with one, was expected\n"),
        ("bad.toml", "error: bad.toml: a plan protects something: at least one guard was expected, got none\n"),
        (
            "none.toml",
            "error: none.toml: a protection plan in TOML was expected: No such file or directory; check the path\n",
        ),
        ("other.toml", "error: other.toml: 'w' of a guard matches no tensor that can flip\n"),
    ):
        for command in (
            ("inject",),
            ("gate", "digits", "--data", "digits", "--format", "ieee", "--max-sdc", "1e-6:0.1"),
        ):
            refused = cli(*command, "--protection", file, "--results", "r")
            assert (refused.code, refused.err, refused.out) == (2, message, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "other.toml"]


def test_a_schedule_goes_where_the_models_file_is_not(tmp_path):
    """Stored bits, which zeroing needs, are then read from the copy that came along; the patterns are the same."""
    path = tmp_path / "m.onnx"
    path.write_bytes(DIGITS.read_bytes())
    plan = ProtectionPlan([Guard("*", "parity"), Guard("*", "range")])
    settings = Settings(repeats=2, protection=plan, **FAST)
    model = load_model(path)
    schedule = Schedule.of(model, BitFlipRates(RATE), settings)
    unit = Unit(RATE, 0, 0)
    wanted = schedule.reaching(schedule.pattern(unit))
    elsewhere = pickle.loads(pickle.dumps(schedule))
    path.unlink()
    with pytest.raises(ModelError):
        elsewhere.reaching(elsewhere.pattern(unit))
    there = elsewhere.reading(load_model(DIGITS))
    assert there.space == schedule.space
    found = there.reaching(there.pattern(unit))
    assert found.element.tolist() == wanted.element.tolist()
    assert len(found) > 64


def test_a_report_says_what_protected_the_memory(secded, tmp_path):
    """On its first screen and in words; check bits are no numbers."""
    plain = run(None, tmp_path / "plain")
    made = build([secded])
    page = made.html()
    assert f"{SECDED.text}: 223,848 bits besides 1,790,784 that can flip" in page
    assert "secded as stored" not in page
    (guards,) = [section for section in made.sections if section.name == "guards"]
    (row,) = guards.tables[0].rows
    drawn = [ftonnx.replay(secded.results, repeat=repeat, batch=batch) for repeat in (0, 1) for batch in (0, 1)]
    corrected = sum(each.protection.decoded.words.corrected for each in drawn) / 4
    assert row[:4] == ["digits", "5e-4", "4", f"{corrected:,.4g}"]
    assert "Guards correct words when these are read" in page
    assert "digits (plain): none" in build([secded, plain]).html()
    without = build([plain])
    assert "Protection" not in without.html()
    assert "guards" not in [section.name for section in without.sections]
    named = ftonnx.load_dataset("digits", limit=20)
    command = repeat_command(run(SECDED, data=named, repeats=1))
    assert f"--protection PLAN-{SECDED.fingerprint}.toml" in command
    assert "--protection" not in repeat_command(run(None, data=named, repeats=1))


def test_the_plan_is_never_written_over(tmp_path, monkeypatch):
    """Whatever is forced."""
    monkeypatch.chdir(tmp_path)
    SECDED.save("plan.toml")
    base = ("--protection", "plan.toml", "--force")
    gate = ("gate", "digits", "--data", "digits", "--format", "ieee", "--max-sdc", "1e-6:0.1", "--junit", "plan.toml")
    for command in (("inject", "--report", "plan.toml"), gate):
        refused = cli(*command, *base)
        assert refused.code == 2
        assert "plan.toml is the protection plan itself, which is never written to" in refused.err
    assert ProtectionPlan.read("plan.toml") == SECDED


def test_what_is_told_of_injections_has_no_rate(tmp_path, monkeypatch):
    """And a published list of faults has no place for check bits."""
    monkeypatch.chdir(tmp_path)
    SECDED.save("plan.toml")
    base = ("inject", "--faults-per-run", 1, "--repeats", 5, "--limit", 8, "--protection", "plan.toml")
    printed = cli(*base)
    assert "by drawing 5 patterns again" in printed.out
    assert re.search(r"injections +corrected .*\n +5 +1 ", printed.out)
    refused = cli(*base, "--fault-list-out", "list.csv", "--roles", "weight", "--format", "ieee")
    assert refused.code == 2
    assert refused.err == (
        "error: a published fault list holds faults of weights, not of check bits: no --protection was expected\n"
    )
    assert not (tmp_path / "list.csv").exists()


def test_gates_judge_a_protected_memory(tmp_path, monkeypatch):
    """A goal that the bare model misses is reached behind SECDED."""
    monkeypatch.chdir(tmp_path)
    SECDED.save("plan.toml")
    gate = ("gate", "digits", "--data", "digits", "--format", "q15.16", "--min-accuracy", "3e-5:0.8", "--threads", 1)
    assert cli(*gate).code == 1
    passed = cli(*gate, "--protection", "plan.toml")
    assert passed.code == 0
    assert "protected, with 223,848 check bits (12.50 % of the bits stored)" in passed.out
    assert cli_json(*gate, "--protection", "plan.toml")["protection"]["check_bits"] == 223_848
