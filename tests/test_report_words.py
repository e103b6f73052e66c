"""The verdict in words says what the numbers say."""

import pytest
from report_kit import at_rate, campaign, injections

from ftonnx.report import verdict


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        (
            (0.98, 0.975, 0.6),
            "stays within one point of that up to 1e-6, and at 1e-5 flips per bit it is down to 60.00 %",
        ),
        ((0.6, 0.3, 0.1), "; already at 1e-7 flips per bit it is down to 60.00 % (95 % interval 58.00 to 62.00 %)."),
        ((0.98, 0.98, 0.98), "stays within one point of that up to the highest rate, 1e-5."),
        ((0.98, 0.6, 0.98), "up to 1e-7, and at 1e-6 flips per bit it is down to 60.00 %"),
    ],
)
def test_it_says_how_far_the_accuracy_holds(accuracies, expected):
    """Up to the last rate before the first loss of more than a point."""
    rates = [at_rate(rate, top1) for rate, top1 in zip((1e-7, 1e-6, 1e-5), accuracies, strict=True)]
    text = verdict([campaign("net", at_rate(0.0, 0.98), *rates)])
    assert text.startswith("net classifies 98.00 % of 360 images correctly without faults")
    assert expected in text


def test_it_says_what_became_of_the_images():
    """Silent, detected and masked shares at the highest rate."""
    text = verdict([campaign("net", at_rate(1e-6, 0.6, sdc1=0.3, due=0.1, masked=0.2))])
    assert "At the highest rate, 1e-6 (2 flips per run on average), 30.00 % of the images silently" in text
    assert "10.00 % of the outputs hold NaN" in text
    assert "20.00 % are bit-identical" in text
    assert "At the highest rate, 5e-7 (one flip per run), " in verdict([campaign("net", at_rate(5e-7, 0.6))])


def test_it_compares_where_models_differ_most():
    """At a common rate; whether intervals overlap is said."""
    weak = campaign("weak", at_rate(1e-7, 0.97), at_rate(1e-6, 0.30), at_rate(1e-5, 0.1))
    strong = campaign("strong", at_rate(1e-6, 0.90), at_rate(1e-5, 0.12))
    text = verdict([weak, strong])
    assert "differ most at 1e-6: strong keeps 90.00 % (95 % interval 88.00 to 92.00 %), weak 30.00 %" in text
    assert text.endswith("the intervals do not overlap.")
    near = campaign("near", at_rate(1e-6, 0.31))
    assert verdict([weak, near]).endswith("the intervals overlap.")
    assert verdict([weak, campaign("one", at_rate(1e-6, 0.9, width=None))]).endswith("no interval to judge that by.")
    assert "no fault rate in common" in verdict([weak, campaign("other", at_rate(2e-6, 0.5))])


def test_many_models_do_not_make_a_long_paragraph():
    """Only best and worst are named."""
    text = verdict([campaign(f"net{i}", at_rate(1e-6, i / 10)) for i in range(10)])
    assert "net9 keeps 90.00 %" in text
    assert "net5" not in text
    assert len(text) < 300


def test_it_names_the_most_harmful_bit_and_tensor():
    """Bit 31: (900 + 500) of 2,000 images; fc.weight: 500 of 1,000, conv.weight: 900 of 2,000."""
    text = verdict([injections()])
    assert "number 31 did most harm: when it flipped, 70.00 % of the images got another class (20 injections)" in text
    assert "of its tensors fc.weight: 50.00 % (10 injections)" in text
    assert "within one point" not in text


def test_it_says_when_a_campaign_is_not_finished():
    """Before anything else."""
    text = verdict([campaign("net", complete=False), campaign("done")])
    assert text.startswith("Not finished yet, so all numbers may still change: net. ")
