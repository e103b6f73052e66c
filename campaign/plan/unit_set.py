"""Which of a campaign's units are done: a bit for each, since there may be millions."""

from collections.abc import Iterable

from ftonnx.campaign.plan.schedule import Unit

__all__ = ["UnitSet"]


class UnitSet:
    """Units of a campaign.

    >>> done = UnitSet(batches=45, units=[Unit(1e-6, repeat=7, batch=3)])
    >>> Unit(1e-6, 7, 3) in done, Unit(1e-6, 7, 4) in done, len(done)
    (True, False, 1)
    """

    def __init__(self, batches: int, units: Iterable[Unit] = ()) -> None:
        """Begin with some.

        Args:
            batches: of the campaign.
            units: to begin with.
        """
        self._batches = batches
        self._bits: dict[float, bytearray] = {}
        self._count = 0
        for unit in units:
            self.add(unit)

    def add(self, unit: Unit) -> None:
        """Put in a unit."""
        byte, bit = self._place(unit)
        bits = self._bits.setdefault(unit.rate, bytearray())
        if byte >= len(bits):
            bits.extend(bytes(byte + 1 - len(bits)))
        if not bits[byte] & bit:
            bits[byte] |= bit
            self._count += 1

    def __contains__(self, unit: Unit) -> bool:
        bits = self._bits.get(unit.rate)
        if bits is None:
            return False
        byte, bit = self._place(unit)
        return byte < len(bits) and bool(bits[byte] & bit)

    def __len__(self) -> int:
        return self._count

    def _place(self, unit: Unit) -> tuple[int, int]:
        """Return a unit's byte and its bit there: repeat by repeat, so that a set grows with what is done."""
        byte, bit = divmod(unit.repeat * self._batches + unit.batch, 8)
        return byte, 1 << bit
