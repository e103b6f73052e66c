"""Results as tables: every number is the result's, and files hold the same."""

from dataclasses import replace

import polars as pl
import pytest
import scipy
from report_kit import at_rate, campaign, injections, vulnerable

from ftonnx.report import build, fault_space_table, outcomes_table, rates_table, vulnerability_table


def test_the_rates_table_has_every_estimate_with_its_limits():
    """One row per model and rate; null where there is no interval."""
    plain, other = campaign("plain"), campaign("other", at_rate(1e-6, 0.5, width=None))
    table = rates_table([plain, other])
    assert table["model"].to_list() == ["plain"] * 3 + ["other"]
    for row, rate in zip(table.iter_rows(named=True), (*plain.rates, *other.rates), strict=True):
        assert (row["rate"], row["units"]) == (rate.rate, rate.units)
        assert row["faults_mean"] == pytest.approx(rate.faults_mean, rel=1e-9)
        assert row["fault_free_top1"] == 0.98
        for name in ("top1", "top5", "sdc1", "sdc5", "sdc10", "sdc20", "masked", "due", "beneficial"):
            found = getattr(rate, name)
            limits = (row[name], row[f"{name}_low"], row[f"{name}_high"])
            assert limits == tuple(map(pytest.approx, (found.mean, found.low, found.high)))


def test_one_result_becomes_a_frame():
    """Its rates."""
    result = campaign()
    assert result.to_polars().equals(rates_table([result]))


def test_the_four_outcomes_share_all_images():
    """Also where a model gives NaN without faults, whose outputs can be masked and DUE at once."""
    usual = at_rate(1e-6, 0.6, sdc1=0.2, due=0.1, masked=0.3)
    odd = at_rate(1e-5, 0.0, sdc1=0.0, due=1.0, masked=1.0)
    table = outcomes_table([campaign("net", usual, odd)])
    shares = table.filter(pl.col("rate") == 1e-6).select("outcome", "share").rows()
    assert dict(shares) == pytest.approx({"masked": 0.3, "tolerable": 0.4, "SDC": 0.2, "DUE": 0.1})
    for (_,), group in table.group_by("rate"):
        assert group["share"].sum() == pytest.approx(1)
        assert group["share"].min() >= 0


def test_models_of_one_name_are_told_apart():
    """By their folders, and where these have one name too, by number."""
    same = [campaign("net", folder="a/r"), campaign("net", folder="b/r"), campaign("net", folder="c")]
    names = rates_table(same)["model"].unique(maintain_order=True).to_list()
    assert names == ["net (r) #1", "net (r) #2", "net (c)"]
    assert rates_table(same[1:])["model"].unique(maintain_order=True).to_list() == ["net (r)", "net (c)"]


def test_the_critical_share_is_per_image():
    """900 of 10 x 100 images."""
    rows = vulnerability_table([injections()]).select("tensor", "bit", "injections", "critical_share").rows()
    assert rows == [("conv.weight", 31, 10, 0.9), ("conv.weight", 0, 10, 0.0), ("fc.weight", 31, 10, 0.5)]


def test_the_critical_share_has_limits_over_injections():
    """9 of 10 injections, as scipy's exact binomial interval has it; none where there is none."""
    exact = scipy.stats.binomtest(9, 10).proportion_ci(0.95, method="exact")
    row = vulnerability_table([injections()]).row(0, named=True)
    assert (row["critical_share_low"], row["critical_share_high"]) == pytest.approx((exact.low, exact.high))
    without = replace(vulnerable("conv.weight", 31, 900), low=None, high=None)
    row = vulnerability_table([injections("net", without)]).row(0, named=True)
    assert (row["critical_share_low"], row["critical_share_high"]) == (None, None)


def test_the_fault_space_is_listed_tensor_by_tensor():
    """As the campaign recorded it."""
    (row,) = fault_space_table([campaign()]).iter_rows(named=True)
    assert (row["tensor"], row["role"], row["op_type"], row["bits"]) == ("conv.weight", "weight", "Conv", 192)
    assert row["shape"] == "2x3"


def test_csv_and_parquet_hold_the_same_tables(tmp_path):
    """Read back with polars; a table without rows is not written."""
    made = build([campaign("plain"), injections("single")])
    files = made.save_tables(tmp_path / "deep" / "tables")
    assert {file.name for file in files} == {
        f"{name}.{ending}"
        for name in ("models", "rates", "outcomes", "vulnerability", "fault_space")
        for ending in ("csv", "parquet")
    }
    for name, table in made.tables().items():
        assert pl.read_parquet(tmp_path / "deep" / "tables" / f"{name}.parquet").equals(table)
        read = pl.read_csv(tmp_path / "deep" / "tables" / f"{name}.csv", schema=table.schema)
        assert read.equals(table)
