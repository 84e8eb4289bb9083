"""What an endpoint's fleet would have cost over recorded traffic, scaled automatically or fixed.

usage: python -m benchmarks.fleet LOG --rate REQUESTS_A_SECOND --price DOLLARS_AN_HOUR [OPTIONS]

LOG has a line for each request, or for each minute: a time (ISO 8601 or seconds since 1970), and
after a comma, tab or space the number of requests, by default 1. `docs/cost.md` has the command
that writes it from CloudWatch. RATE is what one busy instance answers.

The simulation goes by minutes. Target tracking sees the requests of an instance in each minute: 3
minutes above the target add instances, which answer after START minutes and are paid at once; 15
minutes below nine tenths of it remove some. Both set the fleet so that the last minute meets the
target. Not simulated: bursts within a minute, instances that fail, uneven routing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

MINUTES_ABOVE = 3
MINUTES_BELOW = 15
SLACK = 0.9
"""Source: Application Auto Scaling's alarms of target tracking for SageMaker variants, 2026-11."""


@dataclass(frozen=True)
class Fleet:
    """What is assumed of instances and policy."""

    requests_a_minute: float
    """What one busy instance answers."""
    load: float
    """The target, as a share of that."""
    start_minutes: int
    least: int
    most: int

    def count_for(self, requests: float) -> int:
        """Return the number of instances that serve a minute's requests at the target."""
        wanted = math.ceil(requests / (self.requests_a_minute * self.load))
        return max(self.least, min(self.most, wanted))


@dataclass(frozen=True)
class Outcome:
    """What a fleet did."""

    instance_minutes: int
    largest: int
    overloaded_minutes: int
    requests_too_many: int
    """Beyond what the instances could answer in their minute: they wait, or get a 503."""


def read(lines: Iterable[str]) -> list[float]:
    """Return the requests of each minute, from the first to the last.

    Raises: ValueError naming a line that cannot be read, or if there is none.
    """
    counts: Counter[int] = Counter()
    for number, line in enumerate(lines, 1):
        fields = re.split(r"[\s,]+", line.strip())
        if fields == [""]:
            continue
        try:
            counts[int(_read_time(fields[0]) // 60)] += float(fields[1]) if fields[1:] else 1.0
        except ValueError as error:
            message = f"line {number}: {line.strip()[:80]!r} is not a time and a number of requests"
            raise ValueError(message) from error
    if not counts:
        message = "the log has no lines"
        raise ValueError(message)
    return [counts[minute] for minute in range(min(counts), max(counts) + 1)]


def _read_time(text: str) -> float:
    if re.fullmatch(r"[\d.]+", text):
        return float(text)
    time = dt.datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()


def simulate(traffic: Sequence[float], fleet: Fleet) -> Outcome:
    """Run target tracking over the requests of each minute."""
    running = fleet.count_for(traffic[0])
    starting: list[tuple[int, int]] = []
    above = below = 0
    outcome = Outcome(0, running, 0, 0)
    for minute, requests in enumerate(traffic):
        running += sum(count for ready, count in starting if ready == minute)
        starting = [(ready, count) for ready, count in starting if ready > minute]
        paid = running + sum(count for _, count in starting)
        outcome = _add(outcome, requests, running, paid, fleet)
        target = fleet.requests_a_minute * fleet.load
        above = above + 1 if requests / running > target else 0
        below = below + 1 if requests / running < SLACK * target else 0
        wanted = fleet.count_for(requests)
        if above >= MINUTES_ABOVE and wanted > paid:
            starting.append((minute + 1 + fleet.start_minutes, wanted - paid))
        elif below >= MINUTES_BELOW and not starting and wanted < running:
            running = wanted
            below = 0
    return outcome


def keep(traffic: Sequence[float], fleet: Fleet) -> Outcome:
    """Serve the same traffic with as many instances as the busiest minute needs."""
    count = fleet.count_for(max(traffic))
    outcome = Outcome(0, count, 0, 0)
    for requests in traffic:
        outcome = _add(outcome, requests, count, count, fleet)
    return outcome


def _add(outcome: Outcome, requests: float, running: int, paid: int, fleet: Fleet) -> Outcome:
    too_many = max(0, math.ceil(requests - running * fleet.requests_a_minute))
    return Outcome(
        outcome.instance_minutes + paid,
        max(outcome.largest, paid),
        outcome.overloaded_minutes + (too_many > 0),
        outcome.requests_too_many + too_many,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a JSON line for each way to run the fleet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("--rate", type=float, required=True, help="of one instance, a second")
    parser.add_argument("--price", type=float, required=True, help="of an instance, an hour")
    parser.add_argument("--load", type=float, default=0.5, help="target, as a share of the rate")
    parser.add_argument("--start", type=int, default=5, help="minutes until an instance answers")
    parser.add_argument("--least", type=int, default=2, help="smallest fleet")
    parser.add_argument("--most", type=int, default=1000, help="largest fleet")
    parser.add_argument("--times", type=float, default=1, help="multiply the traffic")
    options = parser.parse_args(arguments)
    if min(options.rate, options.price, options.load, options.times) <= 0 or options.start < 0:
        parser.error("--rate, --price, --load and --times are above 0, and --start is not below")
    if not 1 <= options.least <= options.most:
        parser.error("--least is at least 1 and at most --most")
    try:
        lines = options.log.read_text(encoding="utf-8").splitlines()
        traffic = [options.times * requests for requests in read(lines)]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    fleet = Fleet(60 * options.rate, options.load, options.start, options.least, options.most)
    requests = sum(traffic)
    for name, outcome in (("scaled", simulate(traffic, fleet)), ("fixed", keep(traffic, fleet))):
        hours = outcome.instance_minutes / 60
        row = {
            "fleet": name,
            "instance_hours": round(hours, 2),
            "dollars": round(hours * options.price, 2),
            "dollars_for_a_million": round(hours * options.price / requests * 1e6, 4),
            "largest": outcome.largest,
            "overloaded_minutes": outcome.overloaded_minutes,
            "requests_too_many": outcome.requests_too_many,
        }
        print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
