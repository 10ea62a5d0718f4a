"""What only shows across rows: splits, repeated ids, repeated phrases. All of it is sorted on disk."""

from deixis.datasets.pairs.ledger import Ledger

PAIRS = "rows WHERE NOT refused AND sample IS NOT NULL"
JOINED = "rows JOIN images ON image = key WHERE NOT refused AND sample IS NOT NULL"


def check_across(ledger: Ledger, *, val_share: float, scored: bool = True) -> None:
    """Give every row a split; refuse what repeats an id, and what is in two splits or cannot be scored.

    Args:
        scored: Whether any split is for evaluation. Pairs that are only to be labelled need no box and no split.
    """
    if scored:
        _check_splits(ledger, val_share)
    else:
        ledger.run("UPDATE rows SET split = 'train' WHERE split IS NULL")
    ledger.refuse_where(_repeats("sample"), code="E_ID_DUP", value="sample")
    ledger.remark_where(_repeats("same, text"), code="W_DUP_TEXT", value="expression")
    _number_images(ledger)


def _check_splits(ledger: Ledger, val_share: float) -> None:
    """Let every row have one split, its image the same one, and a box where it is to be scored."""
    if ledger.one(f"SELECT COUNT(split) FROM {PAIRS}"):
        ledger.refuse_where(
            f"SELECT seq FROM {PAIRS} AND split IS NULL", code="E_SPLIT_BAD", value="'no split, where others have one'"
        )
    else:
        _draw_splits(ledger, val_share)
    # A phrase that is to be scored needs something to be scored against.
    ledger.refuse_where(
        f"SELECT seq FROM {PAIRS} AND split <> 'train' AND x0 IS NULL AND box IS NULL",
        code="E_BOX_MISSING",
        value="sample || ' is in ' || split",
    )
    ledger.run("UPDATE rows SET refused = 1 WHERE split <> 'train' AND x0 IS NULL AND sample IS NOT NULL")
    _refuse_overlap(ledger)


def _draw_splits(ledger: Ledger, val_share: float) -> None:
    """A share of the images to val by their checksum, so that adding images moves none; others to train.

    Only images whose every phrase has a box can be scored.
    """
    share = int(val_share * 0x100000000)
    ledger.run("UPDATE rows SET split = 'train' WHERE sample IS NOT NULL")
    ledger.run(
        "UPDATE rows SET split = 'val' WHERE NOT refused AND sample IS NOT NULL AND image IN (SELECT key "
        f"FROM images WHERE same IN (SELECT same FROM {JOINED} GROUP BY same, sha256 "
        f"HAVING COUNT(x0) = COUNT(*) AND drawn(sha256) < {share}))"
    )


def _refuse_overlap(ledger: Ledger) -> None:
    """Keep every image in one split: one that is evaluated on before train, the first by name among those."""
    ledger.run("DROP TABLE IF EXISTS homes")
    ledger.run(
        "CREATE TEMP TABLE homes AS SELECT same AS home, "
        "COALESCE(MIN(CASE WHEN split <> 'train' THEN split END), 'train') AS split "
        f" FROM {JOINED} GROUP BY same HAVING COUNT(DISTINCT split) > 1"
    )
    ledger.refuse_where(
        f"SELECT seq FROM {JOINED} AND EXISTS (SELECT 1 FROM homes WHERE home = same AND homes.split <> rows.split)",
        code="E_SPLIT_OVERLAP",
        value="split || ': its image is also in another split: ' || sample",
    )


def _repeats(columns: str) -> str:
    """Query for rows whose columns equal those of an earlier row."""
    return (
        f"SELECT seq FROM (SELECT seq, ROW_NUMBER() OVER (PARTITION BY {columns} ORDER BY seq) AS nth FROM {JOINED}) "
        "WHERE nth > 1"
    )


def _number_images(ledger: Ledger) -> None:
    """Number the images that still have a pair, in the order of their names."""
    ledger.run("DROP TABLE IF EXISTS numbers")
    ledger.run("CREATE TEMP TABLE numbers(image INTEGER PRIMARY KEY, number INTEGER)")
    ledger.run(
        "INSERT INTO numbers SELECT key, ROW_NUMBER() OVER (ORDER BY name, key) - 1 FROM images "
        f"WHERE key IN (SELECT same FROM {JOINED})"
    )
    ledger.run("UPDATE images SET number = (SELECT number FROM numbers WHERE numbers.image = images.same)")
