"""Damaged results folders: every changed bit is noticed or of no importance, and what is lost can be measured again."""

import json
import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
from campaign_kit import cli, contents, counts, digits_batches, edit, edit_header, faults, one_error_line, rows, summary
from report_kit import HEADER

import ftonnx
from ftonnx.campaign import CampaignResult, check_results, compare, merge
from ftonnx.campaign.plan.schedule import Unit
from ftonnx.campaign.results.published import published_outcomes
from ftonnx.campaign.store.folder import Record, Store
from ftonnx.campaign.store.row_checks import RowChecks
from ftonnx.errors import StoreError
from ftonnx.inject import FaultCount
from ftonnx.tasks import Counts

RATES = {"rates": [1e-6, 1e-5], "repeats": 3, "batch_size": 8, "images_per_pattern": 8}
INJECTIONS = {"faults": FaultCount(2), "repeats": 8, "batch_size": 8}
SINGLE = {"faults": FaultCount(1), "repeats": 6, "batch_size": 8}


def run(results, **settings):
    """Run or resume a small campaign; return its folder."""
    ftonnx.evaluate("digits", digits_batches(8, 24), **settings, strategy="live", threads=1, results=results)
    return results


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folders of finished campaigns: at rates, of two faults each, of single faults, merged, pooled."""
    place = tmp_path_factory.mktemp("done")
    run(place / "rates", **RATES)
    run(place / "injections", **INJECTIONS)
    run(place / "single", **SINGLE)
    run(place / "seed", **RATES, seed=7)
    merge([place / "rates"], place / "merged")
    merge([place / "rates", place / "seed"], place / "pooled", pool_seeds=True)
    return place


@pytest.fixture
def copy(done, tmp_path):
    """What copies one of them, to be damaged."""
    return lambda name: shutil.copytree(done / name, tmp_path / name)


def damage(folder, *statements):
    """Change the rows of a folder behind its back."""
    with closing(sqlite3.connect(folder / "units.sqlite")) as database, database:
        for statement in statements:
            assert database.execute(statement).rowcount > 0


def told(folder):
    """Return all that readers say of a folder: the numbers, and the rows they are made of."""
    said = summary(folder)
    with Store.open(folder) as store:
        recorded = {unit: (record.outcomes, record.n_faults) for unit, record in store.units().items()}
        return said, repr((recorded, store.golden_runs(), store.fault_outcomes()))


@pytest.mark.parametrize("name", ["rates", "injections", "merged", "pooled"])
@pytest.mark.parametrize(("file", "flips"), [("units.sqlite", 150), ("campaign.json", 40)])
def test_a_flipped_bit_gives_the_same_numbers_or_none(done, copy, name, file, flips):
    """Anywhere in both files: what is not refused says all that it said before."""
    expected = told(done / name)
    whole = (done / name / file).read_bytes()
    found = Counter()
    rng = random.Random(f"{name} {file}")
    folder = copy(name)
    for _ in range(flips):
        place = rng.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (folder / file).write_bytes(flipped)
        try:
            assert told(folder) == expected, place
            found["same"] += 1
        except StoreError:
            found["refused"] += 1
    assert found["refused"] > flips / 20


COLUMNS = [
    *(("units", name) for name in ("rate", "repeat", "batch", "n", "correct1", "due", "n_faults", "wall_ns", "check")),
    *(("golden", name) for name in ("batch", "n", "masked", "check")),
    *(("faults", name) for name in ("injection", "target", "element", "bit", "check")),
]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_every_column_of_every_table_is_checked(copy, table, column):
    """One number that is larger by one; the row is shown as it is read."""
    folder = copy("injections")
    key = "injection" if table == "faults" else "repeat" if column == "repeat" else "batch"
    chosen = f"{key} = (SELECT MAX({key}) FROM {table})"
    ((last,),) = _query(folder, f'SELECT MAX("{column}") FROM {table} WHERE {chosen}')
    damage(folder, f'UPDATE {table} SET "{column}" = "{column}" + 1 WHERE {chosen} AND "{column}" = {last}')
    found = {state.table: state for state in check_results(folder).tables}[table]
    assert found.damaged > 0
    if column != "check":
        assert last + 1 in {row[column] for row in found.examples}
    with pytest.raises(StoreError, match="not what was recorded"):
        CampaignResult.open(folder)


@pytest.mark.parametrize("value", ["NULL", "'abc'", "x'00ff'", "1.5", "CAST(x'ff' AS TEXT)"])
def test_values_of_another_kind_are_noticed(copy, value):
    """Which a flipped bit in a row's header makes of them."""
    folder = copy("rates")
    damage(folder, f"UPDATE units SET sdc1 = {value} WHERE batch = 1 AND repeat = 2")
    with pytest.raises(StoreError, match="2 of 18 units are not what was recorded"):
        CampaignResult.open(folder)
    assert cli("results", "check", folder).code == 4


@pytest.mark.parametrize("column", ["digest", "decided"])
def test_what_is_kept_of_golden_outputs_is_checked(copy, column):
    """It decides which machines computed the same."""
    folder = copy("rates")
    damage(folder, f"UPDATE golden SET {column} = x'00' WHERE batch = 0")
    with pytest.raises(StoreError, match="1 of 3 golden runs is not what was recorded"):
        CampaignResult.open(folder)


def test_lost_rows_are_counted(copy):
    """They are not taken for units that were never run."""
    folder = copy("injections")
    damage(folder, "DELETE FROM units WHERE repeat = 1", "DELETE FROM faults WHERE injection = 7")
    with pytest.raises(StoreError, match="3 of 24 units are lost; 2 of 16 faults are lost; good are 21 units, 3 "):
        CampaignResult.open(folder)


def test_rows_that_come_back_are_noticed(copy):
    """As those of an older copy of a page do, each with its own right check value."""
    older = copy("rates")
    rows_before = _query(older, "SELECT * FROM units WHERE repeat = 0")
    edit(older, "UPDATE units SET masked = masked + 1 WHERE repeat = 0 AND masked < n")
    with closing(sqlite3.connect(older / "units.sqlite")) as database, database:
        places = ", ".join("?" * len(rows_before[0]))
        database.executemany(f"INSERT OR REPLACE INTO units VALUES ({places})", rows_before)
    with pytest.raises(StoreError, match="units are there which are not those that were recorded"):
        CampaignResult.open(older)


def test_a_damaged_number_of_rows_is_no_reason_to_drop_rows(copy, done):
    """After --repair it is counted anew."""
    folder = copy("rates")
    damage(folder, "UPDATE totals SET rows = rows + 1 WHERE of_table = 'units'")
    with pytest.raises(StoreError, match="the number of units that were recorded is damaged; good are 18 units"):
        CampaignResult.open(folder)
    assert check_results(folder, repair=True).units == 18
    assert told(folder) == told(done / "rates")


def test_rows_of_another_campaign_do_not_pass(done, copy):
    """A database beside another campaign's settings, which have the same tables."""
    folder = copy("rates")
    shutil.copyfile(done / "seed" / "units.sqlite", folder / "units.sqlite")
    with pytest.raises(StoreError, match="18 of 18 units are not what was recorded"):
        CampaignResult.open(folder)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE units SET correct1 = n + 1 WHERE batch = 1 AND repeat = 0",
        "UPDATE units SET due = -1 WHERE batch = 1 AND repeat = 0",
        "UPDATE units SET n = 7, correct1 = 0 WHERE batch = 1 AND repeat = 0",
        "UPDATE units SET rate = 2e-6 WHERE batch = 1 AND repeat = 0 AND rate = 1e-6",
        "UPDATE units SET repeat = 3 WHERE batch = 1 AND repeat = 0",
        "UPDATE units SET batch = 3 WHERE batch = 1 AND repeat = 0",
        "UPDATE golden SET correct5 = n + 1 WHERE batch = 1",
        "UPDATE golden SET batch = -1 WHERE batch = 1",
    ],
)
def test_what_cannot_be_is_refused_whatever_its_check_value(copy, statement):
    """Counts beyond their batch, places that the campaign does not have."""
    folder = copy("rates")
    edit(folder, statement)
    with pytest.raises(StoreError, match="not what was recorded"):
        CampaignResult.open(folder)


def test_a_damaged_golden_run_does_no_harm_to_its_units(copy):
    """On how many images these were judged is then not known."""
    folder = copy("rates")
    damage(folder, "UPDATE golden SET n = n + 1 WHERE batch = 1")
    assert [table.damaged for table in check_results(folder).tables] == [0, 1, 0]


def test_every_reader_refuses_a_damaged_folder_and_leaves_it_alone(copy, tmp_path):
    """Resuming, summing up, comparing, replaying, listing, merging, reporting, checking."""
    folder = copy("single")
    damage(folder, "UPDATE units SET correct1 = correct1 + 1 WHERE repeat = 4")
    before = contents(folder)
    readers = [
        lambda: run(folder, **SINGLE),
        lambda: CampaignResult.open(folder),
        lambda: compare([folder, folder]),
        lambda: ftonnx.replay(folder, repeat=0, batch=0),
        lambda: published_outcomes(folder),
        lambda: merge([folder], tmp_path / "merged"),
        lambda: check_results(folder).require_whole(),
    ]
    for read in readers:
        with pytest.raises(
            StoreError, match=r"is damaged: 3 of 18 units .* ftonnx results check .* with `repair` drops"
        ):
            read()
    found = cli("report", folder, "-o", tmp_path / "r.html")
    assert found.code == 4
    assert "3 of 18 units are not what was recorded" in one_error_line(found)
    assert contents(folder) == before
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("edited", ["settings", "levels", "machine", "check"])
def test_changed_settings_are_refused(copy, edited):
    """Any value of campaign.json, also those that decide no count."""
    folder = copy("rates")
    content = json.loads((folder / "campaign.json").read_text())
    change = {
        "settings": lambda: content["identity"]["settings"].update(seed=1),
        "levels": lambda: content["levels"].__setitem__(0, 2e-6),
        "machine": lambda: content["machine"].update(cpu="another"),
        "check": lambda: content.update(check="0123456789abcdef"),
    }[edited]
    change()
    (folder / "campaign.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"campaign\.json is damaged .*its check value is another one"):
        CampaignResult.open(folder)


def test_settings_without_a_check_value_are_refused(copy):
    """Folders that were made before there were any."""
    folder = copy("rates")
    edit_header(folder, lambda content: None)
    CampaignResult.open(folder)
    content = json.loads((folder / "campaign.json").read_text())
    del content["check"]
    (folder / "campaign.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="it has no check value"):
        CampaignResult.open(folder)


def test_what_is_dropped_is_measured_again(copy, done):
    """The same campaign comes to the counts that it had."""
    folder = copy("rates")
    damage(
        folder,
        "UPDATE units SET sdc1 = sdc1 + 1 WHERE batch = 1 AND repeat = 0",
        "DELETE FROM units WHERE batch = 2 AND repeat = 1",
        "UPDATE golden SET masked = 0 WHERE batch = 1",
    )
    found = check_results(folder, repair=True)
    assert [(table.table, table.damaged, table.good) for table in found.tables] == [
        ("units", 2, 14), ("golden", 1, 2), ("faults", 0, 0)
    ]  # fmt: skip
    assert (found.repaired, found.units) == (True, 14)
    assert counts(folder).items() < counts(done / "rates").items()
    run(folder, **RATES)
    assert told(folder) == told(done / "rates")
    again = check_results(folder, repair=True)
    assert (again.is_whole, again.repaired, again.units) == (True, False, 18)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE faults SET element = element + 1 WHERE injection = 3 AND target = (SELECT MIN(target) FROM faults)",
        "DELETE FROM faults WHERE injection IN (2, 3)",
        "UPDATE units SET due = 1 WHERE repeat = 3",
        "UPDATE units SET due = 1 WHERE repeat = 3 AND batch = 1",
    ],
)
def test_an_injection_is_repaired_as_a_whole(copy, done, statement):
    """One whose faults are not all there is run again, and its faults are recorded again."""
    folder = copy("injections")
    with closing(sqlite3.connect(folder / "units.sqlite")) as database, database:
        database.execute(statement)
    check_results(folder, repair=True)
    assert len(faults(folder)) == 2 * len({row["repeat"] for row in rows(folder)})
    run(folder, **INJECTIONS)
    assert faults(folder) == faults(done / "injections")
    assert told(folder) == told(done / "injections")


def test_a_campaign_that_ended_early_looks_again_after_a_repair(tmp_path):
    """It is not complete without the units that were dropped."""
    settings = {"rates": [1e-5], "images_per_pattern": 8, "budget": "12units"}
    folder = run(tmp_path / "r", **settings)
    before = told(folder)
    damage(folder, "UPDATE units SET due = due + 1 WHERE repeat = 1")
    check_results(folder, repair=True)
    assert not CampaignResult.open(folder).complete
    run(folder, **settings)
    assert told(folder) == before


def test_the_command_lists_what_is_damaged_and_repairs_it(copy):
    """Exit code 4 until it is repaired; then the folder is whole, and smaller."""
    folder = copy("rates")
    assert cli("results", "check", folder).code == 0
    damage(folder, "UPDATE units SET due = 5 WHERE repeat = 2 AND batch = 0 AND rate = 1e-5")
    before = contents(folder)
    listed = cli("results", "check", folder, "--json")
    assert listed.code == 4
    found = json.loads(listed.out)
    assert (found["whole"], found["repaired"], found["units"]) == (False, False, 18)
    assert found["tables"][0] == {"table": "units", "whole": False, "good": 17, "damaged": 1, "recorded": 18}
    shown = cli("results", "check", folder)
    assert "damaged in units: rate 1e-05, repeat 2, batch 0" in shown.out
    assert contents(folder) == before
    assert "17 units are left" in cli("results", "check", folder, "--repair").out
    assert cli("results", "check", folder).code == 0
    assert cli("results", "mend", folder).code == 2
    assert cli("results", "check", folder.parent).code == 4


def test_a_folder_in_use_is_not_repaired(copy):
    """Reading it is no harm."""
    folder = copy("rates")
    with Store.create_or_resume(folder, Store.header_of(folder)):
        assert check_results(folder).is_whole
        with pytest.raises(StoreError, match="is in use by process"):
            check_results(folder, repair=True)


@pytest.mark.parametrize("durable", [False, True])
def test_durable_waits_for_the_disk_and_is_no_other_campaign(done, tmp_path, monkeypatch, durable):
    """SQLite's synchronous is FULL (2), and NORMAL (1) else; a folder goes on either way."""
    levels = []

    def add(store, record, plain=Store.add):
        levels.extend(store._database.execute("PRAGMA synchronous").fetchone())
        plain(store, record)

    monkeypatch.setattr(Store, "add", add)
    folder = run(tmp_path / "r", **RATES, durable=durable)
    assert levels == [2 if durable else 1] * 18
    run(folder, **RATES, durable=not durable)
    assert counts(folder) == counts(done / "rates")


def test_units_that_were_not_run_give_way_to_those_that_are(tmp_path):
    """In one transaction or another; the counts of rows stay right."""
    counted = Counts(dict.fromkeys(HEADER.task.counts, 1))
    with Store.create_or_resume(tmp_path / "r", HEADER) as store:
        for repeat in range(4):
            store.add_quiet(Unit(1e-6, repeat, 0))
        store.add(Record(Unit(1e-6, 0, 0), counted, 1, 5))
        store.flush()
        store.add(Record(Unit(1e-6, 1, 0), counted, 1, 5))
    with Store.create_or_resume(tmp_path / "r", HEADER) as store:
        store.add_quiet(Unit(1e-6, 2, 0))
        store.add(Record(Unit(1e-6, 3, 0), counted, 1, 5))
    with Store.open(tmp_path / "r") as store:
        assert (store.count(), store.quiet()) == (3, 1)
        assert [Unit(1e-6, repeat, 0) in store.recorded() for repeat in range(5)] == [True, True, False, True, False]
    assert check_results(tmp_path / "r").tables[0].recorded == 4


def test_a_check_value_is_that_of_a_plain_loop():
    """Mixed of a key and the columns by whole numbers modulo 2^64; every column and the campaign enter."""
    rows_in = [(1e-6, 3, -7), (0.5, 0, 2**62)]
    checks = RowChecks("fingerprint", "units", ("REAL", "INTEGER", "INTEGER"))
    (start,) = RowChecks("fingerprint", "units", ()).verified([(0,)]).checks.view(np.uint64).tolist()
    for row, found in zip(rows_in, checks.of(rows_in).view(np.uint64).tolist(), strict=True):
        value = start
        for bits in (np.float64(row[0]).view(np.uint64), np.int64(row[1]), np.int64(row[2])):
            value = ((value ^ (int(bits) % 2**64)) * 0x9E3779B97F4A7C15) % 2**64
            value ^= value >> 32
        assert found == value
    names = (("fingerprint", "golden"), ("another", "units"))
    others = [RowChecks(*named, ("REAL", "INTEGER", "INTEGER")) for named in names]
    assert len({int(other.of(rows_in[:1])[0]) for other in (checks, *others)}) == 3


def _query(folder, query):
    with closing(sqlite3.connect(folder / "units.sqlite")) as database:
        return database.execute(query).fetchall()
