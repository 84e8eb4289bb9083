"""Write sentences with labels to DIR/training/reviews.csv, and a request, DIR/request.json."""

import csv
import itertools
import json
import sys
from pathlib import Path

THINGS = ("food", "room", "view", "service", "bed", "breakfast", "staff", "pool")
OPINIONS = {
    "positive": ("good", "great", "lovely", "clean", "friendly"),
    "negative": ("bad", "awful", "dirty", "cold", "rude"),
}
OPENINGS = ("the {} was {}", "we found the {} {}", "what a {} , so {}")

directory = Path(sys.argv[1])
(directory / "training").mkdir(parents=True, exist_ok=True)
with (directory / "training/reviews.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["label", "text"])
    for label, words in OPINIONS.items():
        for thing, word, opening in itertools.product(THINGS, words, OPENINGS):
            writer.writerow([label, opening.format(thing, word)])
request = {"inputs": ["the breakfast was lovely", "we found the pool dirty"]}
(directory / "request.json").write_text(json.dumps(request), encoding="utf-8")
