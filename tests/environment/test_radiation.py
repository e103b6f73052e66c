"""Environments and fault rates, against published and worked numbers."""

import math

import pytest

from ftonnx.environment.radiation import (
    HOURS_PER_YEAR,
    Environment,
    duration_text,
    parse_duration,
    plain_words,
    time_to_reach,
)
from ftonnx.errors import UsageError

RESNET50 = 817_825_024


@pytest.mark.parametrize(
    ("source", "per_hour", "fit", "device", "to_1e7", "to_3e5_years"),
    [
        ({"cross_section": 1e-14, "flux": 13}, 1.3e-13, 130, 1.063e-4, 7.7e5, 26_325),
        ({"fit_per_mbit": 1000}, 1e-12, 1000, 8.18e-4, 1e5, 3_422),
        ({"cross_section": 1e-14, "flux": 6000}, 6e-11, 6e4, 0.0491, 1667, 57),
        ({"upsets_per_bit_day": 1e-10}, 4.17e-12, 4167, 0.00341, 24_000, 821),
        ({"upsets_per_bit_day": 1e-7}, 4.17e-9, 4.17e6, 3.41, 24, 300 / 365),
        ({"upsets_per_bit_day": 1e-6}, 4.17e-8, 4.17e7, 34.1, 2.4, 30 / 365),
    ],
)
def test_the_worked_environments_of_resnet50_are_reproduced(source, per_hour, fit, device, to_1e7, to_3e5_years):
    """Sea level, 1000 FIT/Mbit, avionics, rad-hard, low orbit, geostationary."""
    place = Environment(**source)
    assert place.upsets_per_bit_hour == pytest.approx(per_hour, rel=3e-3, abs=0)
    assert place.device_fit(10**6) == pytest.approx(fit, rel=3e-3, abs=0)
    assert place.upsets_per_bit_hour * RESNET50 == pytest.approx(device, rel=3e-3, abs=0)
    assert time_to_reach(1e-7, place.upsets_per_bit_hour) == pytest.approx(to_1e7, rel=3e-3, abs=0)
    assert time_to_reach(3e-5, place.upsets_per_bit_hour) / HOURS_PER_YEAR == pytest.approx(
        to_3e5_years, rel=3e-3, abs=0
    )


@pytest.mark.parametrize(("x", "end", "average"), [(1, 0.4323324, 0.2838338), (0.1, 0.0906346, None)])
def test_known_probabilities_of_a_flipped_bit_are_reproduced(x, end, average):
    """For 1 and .1 expected upsets."""
    assert Environment(fit_per_mbit=1e15, interval=x).rate == pytest.approx(end, abs=5e-8)
    if average:
        assert Environment(fit_per_mbit=1e15, interval=x, read="average").rate == pytest.approx(average, abs=5e-8)


def test_small_rates_keep_all_their_digits():
    """Sea level for 1.5 hours: 1.95e-13, which 1 - exp(-2x) has only four digits of."""
    place = Environment(cross_section=1e-14, flux=13, interval=1.5)
    assert place.rate == pytest.approx(1.95e-13, rel=1e-12, abs=0)
    assert 0.5 * (1 - math.exp(-2 * 1.95e-13)) != pytest.approx(1.95e-13, rel=1e-6, abs=0)


@pytest.mark.parametrize("x", [1e-12, 1e-6, 9.99e-5, 1.01e-4, 1e-3, 0.5])
def test_the_average_is_the_integral_over_the_interval(x):
    """Midpoint sum of the rate at the end of shorter intervals; the series joins the closed form smoothly."""
    pieces = 2000
    parts = (Environment(fit_per_mbit=1e15, interval=x * (i + 0.5) / pieces).rate for i in range(pieces))
    found = Environment(fit_per_mbit=1e15, interval=x, read="average").rate
    assert found == pytest.approx(sum(parts) / pieces, rel=1e-6, abs=0)


def test_a_memory_in_low_orbit_reloaded_every_90_minutes_is_reproduced():
    """End 6.25e-9, on average 3.125e-9: 2.56 flipped bits of ResNet-50 while it is read."""
    assert Environment.of(upsets_per_bit_day=1e-7, exposure="90min").rate == pytest.approx(6.25e-9, rel=1e-7, abs=0)
    scrubbed = Environment.of(upsets_per_bit_day=1e-7, scrub="90min")
    assert scrubbed.rate == pytest.approx(3.125e-9, rel=1e-7, abs=0)
    assert scrubbed.expected_flips(RESNET50) == pytest.approx(2.56, abs=0.005)


def test_the_flux_multiplier_scales_every_source():
    """Twice New York's flux, twice the upsets."""
    for source in ({"fit_per_mbit": 7.0}, {"upsets_per_bit_day": 7.0}, {"cross_section": 7.0, "flux": 2.0}):
        once, twice = Environment(**source), Environment(**source, flux_multiplier=2.0)
        assert twice.upsets_per_bit_hour == pytest.approx(2 * once.upsets_per_bit_hour, abs=0)


def test_the_time_to_a_rate_is_the_inverse_of_the_rate_at_its_end():
    """And infinite where half of the bits, or more, would be flipped, or nothing upsets them."""
    for rate in (1e-12, 1e-5, 0.3):
        hours = time_to_reach(rate, 1e-3)
        assert Environment(fit_per_mbit=1e12, interval=hours).rate == pytest.approx(rate, rel=1e-9, abs=0)
    assert time_to_reach(0, 1e-9) == 0
    assert time_to_reach(0.5, 1e-9) == time_to_reach(0.1, 0) == math.inf
    with pytest.raises(UsageError, match="from 0 to 1"):
        time_to_reach(1.5, 1e-9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "exactly one of"),
        ({"fit_per_mbit": 1, "upsets_per_bit_day": 1}, "exactly one of"),
        ({"cross_section": 1e-14}, "belong together"),
        ({"fit_per_mbit": 1, "flux": 1}, "belong together"),
        ({"fit_per_mbit": -1}, "0 or more"),
        ({"fit_per_mbit": math.nan}, "0 or more"),
        ({"fit_per_mbit": "1000"}, "0 or more"),
        ({"fit_per_mbit": True}, "0 or more"),
        ({"fit_per_mbit": 1, "interval": math.inf}, "0 or more"),
        ({"fit_per_mbit": 1, "read": "sometimes"}, "end or average"),
    ],
)
def test_environments_that_make_no_sense_are_refused(values, message):
    """One line each."""
    with pytest.raises(UsageError, match=message):
        Environment(**values)


def test_a_rate_needs_an_interval():
    """Upsets per hour do not."""
    place = Environment(fit_per_mbit=1)
    assert place.device_fit(10**6) == pytest.approx(1)
    with pytest.raises(UsageError, match="how long"):
        place.rate  # noqa: B018 - the property raises


class TestFiles:
    """Environments in TOML files."""

    def test_a_file_says_what_the_arguments_say(self, tmp_path):
        """All keys of one source, and an interval."""
        path = tmp_path / "orbit.toml"
        path.write_text('upsets_per_bit_day = 1e-7\nflux_multiplier = 2\nscrub = "90 min"\nread = "end"\n')
        expected = Environment.of(upsets_per_bit_day=1e-7, flux_multiplier=2, scrub="90min", read="end")
        assert Environment.from_toml(path) == expected
        assert expected.to_dict()["interval"] == 1.5

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("fit_per_mbit = ", "in TOML was expected"),
            ("fit = 3", "fit is not known"),
            ("upset_per_bit_day = 3", "did you mean upsets_per_bit_day"),
            ('scrub = "1h"', "exactly one of"),
            ('fit_per_mbit = 3\nscrub = "1h"\nexposure = "1h"', "not both"),
            ("fit_per_mbit = 3\nscrub = 90", "length of time"),
            ("fit_per_mbit = [3]", "0 or more"),
            ("fit_per_mbit = 3\nread = 1", "end or average"),
        ],
    )
    def test_broken_files_are_refused_by_name(self, tmp_path, text, message):
        """With the file's name in the line."""
        path = tmp_path / "broken.toml"
        path.write_text(text)
        with pytest.raises(UsageError, match=message) as caught:
            Environment.from_toml(path)
        assert str(path) in str(caught.value)

    def test_a_file_without_an_interval_is_named_where_a_rate_is_asked_for(self, tmp_path):
        """It has upsets per hour; what was read is no part of it."""
        path = tmp_path / "orbit.toml"
        path.write_text("upsets_per_bit_day = 1e-7\n")
        place = Environment.from_toml(path)
        assert place == Environment(upsets_per_bit_day=1e-7)
        assert "file" not in place.to_dict()
        with pytest.raises(UsageError, match=r"orbit\.toml: how long the memory collects upsets was expected"):
            place.rate  # noqa: B018 - the property raises

    def test_missing_and_binary_files_are_refused(self, tmp_path):
        """Likewise."""
        (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
        for name in ("missing.toml", "b.toml", "."):
            with pytest.raises(UsageError, match="in TOML was expected"):
                Environment.from_toml(tmp_path / name)


class TestWords:
    """Lengths of time, read and written."""

    @pytest.mark.parametrize(
        ("text", "hours"),
        [("90min", 1.5), ("24h", 24), ("1 day", 24), ("2w", 336), ("1y", 8760), ("1e3 s", 1000 / 3600), ("0.5H", 0.5)],
    )
    def test_lengths_of_time_are_read(self, text, hours):
        """In any usual unit."""
        assert parse_duration(text) == pytest.approx(hours)

    @pytest.mark.parametrize("text", ["", "90", "min", "-1h", "1 fortnight", "1h 30min", 90])
    def test_other_texts_are_refused(self, text):
        """A number without a unit too."""
        with pytest.raises(UsageError, match="length of time"):
            parse_duration(text)

    @pytest.mark.parametrize(
        ("hours", "text"),
        [
            (0, "0 seconds"), (0.5, "30 minutes"), (24, "24 hours"), (72, "3 days"), (1667, "9.9 weeks"),
            (8760, "1 year"), (7.7e5, "88 years"), (1e12, "110,000,000 years"), (math.inf, "for ever"),
        ],
    )  # fmt: skip
    def test_lengths_of_time_are_written_in_a_unit_that_suits(self, hours, text):
        """To two digits."""
        assert duration_text(hours) == text

    def test_a_rate_is_put_into_plain_words(self):
        """The known times for 1e-7 at sea level (88 years), in the air (1,667 h) and in orbit (a day)."""
        words = plain_words(1e-7)
        assert "about 88 years at sea level" in words
        assert "about 9.9 weeks in an airliner" in words
        assert "about 24 hours in low Earth orbit" in words

    def test_upsets_of_several_bits_take_less_time(self):
        """A bit is hit as often as upsets flip bits; the environment's own place takes its own time."""
        place = Environment(upsets_per_bit_day=1e-7, interval=48, sizes="1:0.5,7:0.5")
        assert "about 2 days in low Earth orbit" in plain_words(place.rate, 4)
        assert "about 8 days in low Earth orbit" in plain_words(place.rate)

    def test_rates_that_no_environment_reaches_are_named_so(self):
        """And rate 0 needs no time at all."""
        assert "no natural environment" in plain_words(0.5)
        assert plain_words(0) == "no upset at all"


SEVERAL = {"sizes": "1:0.9,3:0.1", "along": "words"}


@pytest.mark.parametrize("read", ["end", "average"])
def test_the_rate_counts_the_bits_of_every_upset(read):
    """As many flips as single upsets would make that come 1.2 times as often; FIT count the upsets."""
    several = Environment(upsets_per_bit_day=1e-3, interval=50.0, read=read, **SEVERAL)
    single = Environment(upsets_per_bit_day=1.2e-3, interval=50.0, read=read)
    assert several.rate == pytest.approx(single.rate, rel=1e-12)
    assert several.expected_flips(1000) == pytest.approx(single.expected_flips(1000), rel=1e-12)
    assert several.device_fit(1000) == pytest.approx(1e-3 / 24 * 1000 * 1e9)


def test_a_file_says_how_many_bits_an_upset_flips(tmp_path):
    """Beside the rest; a number will do where all upsets are alike."""
    file = tmp_path / "orbit.toml"
    file.write_text(
        'fit_per_mbit = 700\nscrub = "1d"\nsizes = 2\nalong = "row"\nmemory = "columns=64,words=32"\n',
        encoding="utf-8",
    )
    place = Environment.from_toml(file)
    assert (place.sizes, place.along, place.memory) == ("2:1.0", "row", "words=32,columns=64,interleave=1")
    assert (place.interval, place.scrubbed) == (24.0, True)
    assert place.shape.sizes.mean == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('along = "words"', "sizes was expected too, beside along"),
        ('memory = "words=32,columns=64"', "sizes was expected too, beside memory"),
        ("sizes = [1, 2]", "sizes of bursts were expected as 2"),
        ("sizes = true", "sizes of bursts were expected as 2"),
        ('sizes = "2:0.5"', "add up to 1"),
        ('sizes = "2"\nalong = 3', "along: a text was expected, got 3"),
        ('sizes = "2"\nalong = "rows"', "did you mean row"),
        ('sizes = "2"\nalong = "row"', "a map of the memory belongs to neighbours along row"),
        ('sizes = "2"\nalong = "row"\nmemory = 5', "memory: a text was expected, got 5"),
        ('sizes = "2"\nalong = "row"\nmemory = "words=32"', "columns was expected too"),
    ],
)
def test_bursts_in_a_file_that_make_no_sense_are_refused(line, said, tmp_path):
    """In a line that begins with the file."""
    file = tmp_path / "orbit.toml"
    file.write_text(f"fit_per_mbit = 700\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=said) as caught:
        Environment.from_toml(file)
    assert str(caught.value).startswith(str(file))
    assert "`" not in str(caught.value)
