"""Words about how large a thing is beside its like."""

LARGE = "big bigger biggest large larger largest huge giant enormous tall taller tallest adult"
SMALL = (
    "small smaller smallest little tiny tiniest baby kid child toddler boy girl puppy kitten miniature short shorter"
)
SIZE_OF = {word: 1 for word in LARGE.split()} | {word: -1 for word in SMALL.split()}


def parse_size_words(head: str) -> int:
    """1 where the words that name a thing say large, -1 where they say small, 0 where neither."""
    return max(-1, min(1, sum(SIZE_OF.get(word, 0) for word in head.split())))
