"""The campaigns of a study: what makes two the same, and those that cannot be written to."""

import itertools
import os
from pathlib import Path

import pytest
from campaign_kit import contents, counts, recorded
from study_kit import means, ran, study

from ftonnx.campaign import Settings, evaluate
from ftonnx.campaign.run.signals import StopRequest
from ftonnx.datasets import load_dataset
from ftonnx.inject import BitFlipRates
from ftonnx.inject.guards import Guard, ProtectionPlan
from ftonnx.studies import pace, run
from ftonnx.studies.campaigns import CellCampaign
from ftonnx.studies.workshop import Workshop


def results_of(folder, cell):
    """Return the only results folder of a cell."""
    (found,) = (folder / "campaigns").glob(f"{cell}.*")
    return found


def test_a_campaign_goes_on_whatever_the_strategy(tmp_path, monkeypatch):
    """Begun with another one and other threads, it ends with the same counts, and says how it was begun."""
    cell = "net/none/none/digits/rates"
    monkeypatch.setattr(pace, "_SECONDS", 0.0)  # every unit is told of

    def stop_soon(told):
        if told.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study(campaign={"strategy": "rebuild", "threads": 2}), tmp_path, only=[cell], progress=stop_soon)
    assert 0 < recorded(results_of(tmp_path, cell)) < 8
    result = run(study(), tmp_path, only=[cell])
    assert result.failures == ()
    run(study(), tmp_path / "whole", only=[cell])
    assert counts(results_of(tmp_path, cell)) == counts(results_of(tmp_path / "whole", cell))
    (found,) = result.results.values()
    assert (found.settings.strategy, found.settings.threads) == ("rebuild", 2)


@pytest.mark.parametrize("providers", [["cpu"], ["cuda", "cpu"]])
def test_another_provider_is_another_campaign(tmp_path, providers):
    """Its kernels may round differently."""
    values = study(campaign={"providers": providers})
    shop = Workshop(values, tmp_path, StopRequest())
    usual = Workshop(study(), tmp_path, StopRequest())
    cell = values.cells[0]
    same = CellCampaign.of(cell, shop, Settings()).folder(shop) == CellCampaign.of(cell, usual, Settings()).folder(
        usual
    )
    assert same == (providers == ["cpu"])


def test_a_protected_memory_is_a_kind_of_faults(tmp_path):
    """Its campaigns are those of ``evaluate`` behind the same plan, quantized variants included, and have names."""
    plan = ProtectionPlan([Guard("*", "secded")])
    (tmp_path / "ecc.toml").write_text(plan.to_toml())
    rates = {"rate": 1e-4}
    values = study(faults={"plain": rates, "ecc": rates | {"protection": str(tmp_path / "ecc.toml")}})
    result = run(values, tmp_path / "s")
    assert result.failures == ()
    found = {cell.name: each for cell, each in result.results.items()}
    images = load_dataset("digits", limit=values.limit)
    direct = evaluate("digits", images, BitFlipRates(1e-4), settings=values.campaign, protection=plan)
    protected = found["net/none/none/digits/ecc"]
    assert protected.rates == direct.rates
    assert protected.settings.protection == plan
    for protect, quantize in itertools.product(("none", "actmax"), ("none", "ptq")):
        bare, coded = (found[f"net/{protect}/{quantize}/digits/{kind}"] for kind in ("plain", "ecc"))
        assert bare.settings.protection is None
        assert coded.rates[0].top1.mean > bare.rates[0].top1.mean


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A finished study in a folder that says it cannot be written to, and its result; root may write everywhere."""
    folder = tmp_path / "s"
    result = ran(folder)
    allowed = os.access

    def access(path, mode):
        return allowed(path, mode) and not (mode & os.W_OK and Path(path).is_relative_to(folder))

    monkeypatch.setattr(os, "access", access)
    return folder, result


def test_a_folder_that_cannot_be_written_to_is_read(finished):
    """With the same numbers; no file comes or goes, not even a lock."""
    folder, before = finished
    (folder / ".lock").unlink()
    kept = contents(folder)
    result = ran(folder)
    assert result.failures == ()
    assert means(result) == means(before)
    assert contents(folder) == kept


def test_what_is_not_done_in_a_folder_that_cannot_be_written_to_is_named(finished):
    """Cell by cell; nothing is made for it."""
    folder, _ = finished
    kept = contents(folder)
    result = ran(folder, faults={"rates": {"rate": [1e-5, 1e-4]}, "more": {"rate": 1e-6}})
    assert len(result.results) == len(result.failures) == 4
    assert all("cannot be written to: copy it, and run the study there" in each.reason for each in result.failures)
    assert contents(folder) == kept
