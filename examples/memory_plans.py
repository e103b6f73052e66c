"""What protections of a memory cost, and what they buy: the embedded network at one bit-fault rate.

python memory_plans.py
"""

from ftonnx import BitFlipRates, FaultSpace, Guard, ProtectionPlan, evaluate
from ftonnx.inject.guards import cost_of

RATE = 3e-5  # flips per bit
PLANS = {
    "nothing": None,
    "range checks, zero": ProtectionPlan([Guard("*", "range")]),
    "parity of the sign and the integral bits, zero": ProtectionPlan([Guard("*", "parity", "sign+exponent")]),
    "the same, reload": ProtectionPlan([Guard("*", "parity", "sign+exponent", "reload")]),
    "SECDED of these bits": ProtectionPlan([Guard("*", "secded", "sign+exponent")]),
    "SECDED of all bits": ProtectionPlan([Guard("*", "secded")]),
    "SECDED of all bits, words of 32": ProtectionPlan([Guard("*", "secded")], word_bits=32),
    "TMR of all bits": ProtectionPlan([Guard("*", "tmr")]),
}


def main() -> None:
    """Print a row for each plan."""
    space = FaultSpace.of("digits")
    print(f"{'protection':<48} {'more bits':>9} {'top-1':>8}   95 % interval")
    for name, plan in PLANS.items():
        cost = 0.0 if plan is None else cost_of(plan, space).share
        result = evaluate("digits", "digits", faults=BitFlipRates(RATE), repeats=5, protection=plan)
        found = result.rates[0]["top1"]
        print(f"{name:<48} {cost:>9.2%} {found.mean:>8.2%}   {found.low:.2%} to {found.high:.2%}")


if __name__ == "__main__":
    main()
