"""Articles to fill news with: made up word by word, as words follow one another in this project's own pages.

About as hard to compress as what people write, unlike text that is repeated; the same each time.
"""

import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

_SUMMARY_WORDS, _BODY_WORDS, _SPREAD = 30, 220, 0.8


def with_texts(news: pa.Table) -> pa.Table:
    """The rows with a summary, a body, an address and an author each."""
    dice = random.Random(7)  # noqa: S311  # which word, not a secret
    following = _following()
    authors = [f"{_words(following, dice, 1)} {_words(following, dice, 1)}".title() for _ in range(200)]
    made: dict[str, list[str]] = {
        "headline": [_words(following, dice, 11).capitalize() for _ in range(len(news))],
        "summary": [_words(following, dice, _length(dice, _SUMMARY_WORDS)) for _ in range(len(news))],
        "body": [_words(following, dice, _length(dice, _BODY_WORDS)) for _ in range(len(news))],
        "author": [dice.choice(authors) for _ in range(len(news))],
        "url": [f"https://news.example.com/2024/{each}.html" for each in news["article_id"].to_pylist()],
    }
    for name, texts in made.items():
        news = news.set_column(news.schema.get_field_index(name), news.schema.field(name), pa.array(texts))
    return news


def _length(dice: random.Random, usual: int) -> int:
    return max(3, round(usual * dice.uniform(1 - _SPREAD, 1 + _SPREAD)))


def _following() -> dict[str, list[str]]:
    """For each word, those that come after it, as often as they do."""
    found: dict[str, list[str]] = defaultdict(list)
    for page in sorted((Path(__file__).parents[1] / "docs").rglob("*.md")):
        words = page.read_text(encoding="utf-8").split()
        for word, following in pairwise(words):
            found[word].append(following)
    return found


def _words(following: dict[str, list[str]], dice: random.Random, count: int) -> str:
    first = list(following)
    words = [dice.choice(first)]
    while len(words) < count:
        words.append(dice.choice(following.get(words[-1]) or first))
    return " ".join(words)
