"""From what single flips cost to an accuracy at a rate.

Flips are taken as independent of each other: an image that is classified correctly stays so with the product of the
probabilities that each flip leaves it alone. What several flips do together beyond that is not known here, which is why
advice is verified by a campaign.
"""

import math

__all__ = ["accuracy_after", "loss_allowed"]


def accuracy_after(loss: float, golden: float) -> float:
    """Return the accuracy to expect.

    Args:
        loss: accuracy lost per run, summed over all flips to expect, each as if it were alone; 0 or more.
        golden: accuracy without faults, above 0.

    >>> accuracy_after(0.0, 0.98), round(accuracy_after(0.01, 0.98), 4), round(accuracy_after(2.0, 0.98), 4)
    (0.98, 0.9701, 0.1273)
    """
    return golden * math.exp(-loss / golden)


def loss_allowed(accuracy: float, golden: float) -> float:
    """Return the sum of single losses at which an accuracy is just reached.

    Args:
        accuracy: that is wanted, above 0.
        golden: accuracy without faults, above 0.

    >>> round(loss_allowed(0.9701, 0.98), 3), loss_allowed(0.99, 0.98) < 0
    (0.01, True)
    """
    return golden * math.log(golden / accuracy)
