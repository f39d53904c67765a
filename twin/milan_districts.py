"""Districts of Milan by name, with real coordinates: where the generator puts cells and what their load looks like."""

from dataclasses import dataclass
from functools import cache

from twin.noise import stream, uniform

CHARACTERS = ("residential", "office", "nightlife", "stadium")


@dataclass(frozen=True)
class Place:
    """``lon``, ``lat`` of the centre (WGS84 degrees), ``radius_m``, ``character`` (one of CHARACTERS, shapes the load),
    ``water``: a canal or river runs through it."""

    name: str
    lon: float
    lat: float
    radius_m: float
    character: str
    water: bool = False


PLACES = (
    # The ten of the bundled scenario.
    Place("Duomo", 9.1919, 45.4642, 500, "office"),
    Place("Brera", 9.1877, 45.4720, 450, "nightlife"),
    Place("Navigli", 9.1755, 45.4522, 700, "nightlife", water=True),  # Darsena, Naviglio Grande, Naviglio Pavese
    Place("Porta Romana", 9.2040, 45.4516, 600, "residential"),
    Place("Città Studi", 9.2270, 45.4778, 700, "residential"),
    Place("Isola", 9.1890, 45.4876, 500, "office"),
    Place("Parco Sempione", 9.1760, 45.4735, 600, "residential"),
    Place("San Siro", 9.1240, 45.4781, 800, "stadium"),  # with the Meazza stadium
    Place("Lambrate", 9.2425, 45.4838, 700, "residential", water=True),  # Lambro
    Place("Lorenteggio", 9.1350, 45.4525, 800, "residential"),
    # More, for larger scenarios.
    Place("Bovisa", 9.1630, 45.5035, 700, "residential"),
    Place("Porta Venezia", 9.2050, 45.4745, 500, "nightlife"),
    Place("Porta Nuova", 9.1900, 45.4815, 400, "office"),
    Place("Centrale", 9.2040, 45.4860, 500, "office"),
    Place("Loreto", 9.2160, 45.4860, 500, "residential"),
    Place("Ticinese", 9.1820, 45.4560, 450, "nightlife"),
    Place("Cadorna", 9.1750, 45.4680, 400, "office"),
    Place("Guastalla", 9.2000, 45.4600, 450, "office"),
    Place("Tre Torri", 9.1565, 45.4780, 500, "office"),
    Place("Portello", 9.1490, 45.4840, 600, "office"),
    Place("Tortona", 9.1640, 45.4520, 450, "nightlife"),
    Place("Washington", 9.1560, 45.4600, 500, "residential"),
    Place("De Angeli", 9.1500, 45.4665, 500, "residential"),
    Place("Bande Nere", 9.1370, 45.4620, 600, "residential"),
    Place("Giambellino", 9.1470, 45.4490, 500, "residential"),
    Place("San Cristoforo", 9.1470, 45.4425, 500, "residential", water=True),  # Naviglio Grande
    Place("Barona", 9.1560, 45.4350, 700, "residential"),
    Place("Famagosta", 9.1690, 45.4370, 500, "residential"),
    Place("Chiesa Rossa", 9.1735, 45.4285, 600, "residential", water=True),  # Naviglio Pavese
    Place("Gratosoglio", 9.1740, 45.4130, 700, "residential"),
    Place("Vigentino", 9.1990, 45.4330, 700, "residential"),
    Place("Corvetto", 9.2240, 45.4400, 600, "residential"),
    Place("Rogoredo", 9.2430, 45.4330, 600, "office"),
    Place("Calvairate", 9.2230, 45.4580, 600, "residential"),
    Place("Mecenate", 9.2450, 45.4510, 700, "office"),
    Place("Ponte Lambro", 9.2640, 45.4430, 600, "residential", water=True),  # Lambro
    Place("Forlanini", 9.2400, 45.4630, 600, "residential"),
    Place("Ortica", 9.2470, 45.4725, 600, "residential"),
    Place("Parco Lambro", 9.2510, 45.4960, 800, "residential", water=True),  # Lambro
    Place("Cimiano", 9.2420, 45.5000, 500, "residential"),
    Place("Crescenzago", 9.2480, 45.5070, 600, "residential", water=True),  # Martesana
    Place("Turro", 9.2230, 45.4985, 500, "residential"),
    Place("Gorla", 9.2240, 45.5055, 500, "residential", water=True),  # Martesana
    Place("Precotto", 9.2240, 45.5130, 500, "residential"),
    Place("Greco", 9.2130, 45.5020, 500, "residential"),
    Place("Bicocca", 9.2130, 45.5180, 700, "office"),
    Place("Niguarda", 9.1920, 45.5180, 800, "residential"),
    Place("Dergano", 9.1770, 45.5020, 500, "residential"),
    Place("Affori", 9.1720, 45.5165, 600, "residential"),
    Place("Bruzzano", 9.1750, 45.5270, 600, "residential"),
    Place("Comasina", 9.1640, 45.5280, 500, "residential"),
    Place("Villapizzone", 9.1500, 45.5030, 600, "residential"),
    Place("Quarto Oggiaro", 9.1400, 45.5150, 700, "residential"),
    Place("Musocco", 9.1300, 45.5060, 600, "residential"),
    Place("QT8", 9.1370, 45.4865, 600, "residential"),
    Place("Gallaratese", 9.1120, 45.4970, 800, "residential"),
    Place("Trenno", 9.1030, 45.4920, 600, "residential"),
    Place("Quinto Romano", 9.0880, 45.4790, 700, "residential"),
    Place("Baggio", 9.0930, 45.4610, 800, "residential"),
    Place("Muggiano", 9.0720, 45.4490, 700, "residential"),
)


@cache
def character_of(district: str) -> str:
    """Character of a district by name; one that is not in PLACES gets a fixed one drawn from its name."""
    for place in PLACES:
        if place.name == district:
            return place.character
    share = float(uniform(stream("character", district), 0))
    return "residential" if share < 0.6 else "office" if share < 0.85 else "nightlife"
