"""Numbers as people write them."""

RAISED = str.maketrans("0123456789+-−.n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻·ⁿ")


def scientific(value: float) -> str:
    """A large number of two digits: 10⁴, 3.2·10⁵."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    power = "10" + str(int(exponent)).translate(RAISED)
    return power if mantissa == "1.0" else f"{mantissa.removesuffix('.0')}·{power}"


def grouped(value: float) -> str:
    """A whole number: 300, 10 000, 1.3·10⁶."""
    return f"{round(value):,}".replace(",", " ") if value < 1e5 else scientific(value)
