"""Write flats with their rents to DIR/training/flats.csv, and a request, DIR/request.csv.

The rents are made by a formula with noise; some years are missing.
"""

import csv
import sys
from pathlib import Path

import numpy as np

DISTRICTS = {"center": 6.0, "harbor": 4.0, "hills": 3.0}

directory = Path(sys.argv[1])
random = np.random.default_rng(0)
(directory / "training").mkdir(parents=True, exist_ok=True)
with (directory / "training/flats.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["area", "rooms", "year", "district", "rent"])
    for _ in range(400):
        area = round(random.uniform(20, 150), 1)
        rooms = 1 + int(area // 30)
        year = int(random.integers(1900, 2025))
        district = str(random.choice(list(DISTRICTS)))
        rent = area * (8 + DISTRICTS[district] + (year - 1900) / 50) + random.normal(0, 20)
        shown_year = "" if random.random() < 0.1 else year
        writer.writerow([area, rooms, shown_year, district, round(rent, 2)])
(directory / "request.csv").write_text(
    "area,rooms,year,district\n100,4,2000,center\n30,1,,hills\n", encoding="utf-8"
)
