"""A row of the result: a value, its reference, a ratio, a goal."""

import statistics
import sys

AT_LEAST, AT_MOST = "≥", "≤"


class Row:
    """ratio is against nginx, measured in turns with it, or, where nginx has no such thing, against
    the limit."""

    def __init__(self, key, what, ours, reference, unit, ratio, relation, goal, samples=1):
        self.key, self.what, self.unit = key, what, unit
        self.ours, self.reference, self.ratio = ours, reference, ratio
        self.relation, self.goal, self.samples = relation, goal, samples

    @property
    def ok(self):
        return self.ratio >= self.goal if self.relation == AT_LEAST else self.ratio <= self.goal

    def line(self):
        reference = f"{self.reference:.4g}"
        return (f"{self.what:<44} {self.ours:>9.4g} {reference:>9} {self.unit:<9} "
                f"{self.ratio:>6.2f}   {self.relation} {self.goal:.2f}   "
                f"{'ok' if self.ok else 'MISSED'}")

    def as_json(self):
        return {name: getattr(self, name) for name in (
            "key", "what", "ours", "reference", "unit", "ratio", "relation", "goal", "ok",
            "samples")}


HEADER = f"{'':<44} {'ours':>9} {'against':>9} {'':<9} {'ratio':>6}   goal"


def against_nginx(key, what, pairs, unit, relation, goal):
    """pairs: (ours, nginx's) of each round. The ratio is the median of the rounds' ratios, so that
    a busy moment of the machine touches one round, and both."""
    return Row(key, what, statistics.median(p[0] for p in pairs),
               statistics.median(p[1] for p in pairs), unit,
               statistics.median(p[0] / p[1] for p in pairs), relation, goal, len(pairs))


def against_limit(key, what, values, unit, limit):
    """The median of values, which may not exceed limit."""
    value = statistics.median(values)
    return Row(key, what, value, limit, unit, value / limit, AT_MOST, 1.0, len(values))


def in_turns(rounds, ours, theirs):
    """[(ours(), theirs())], changing who goes first; both run once before that, uncounted."""
    ours(), theirs()
    pairs = []
    for number in range(rounds):
        if number % 2 == 0:
            pairs.append((ours(), theirs()))
        else:
            second = theirs()
            pairs.append((ours(), second))
    return pairs


def progress(text):
    print(f"… {text}", file=sys.stderr, flush=True)
