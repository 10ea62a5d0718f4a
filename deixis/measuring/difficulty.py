"""Difficulty groups of phrases, after DViN's figure 1; the definition is ours (the paper leaves it open)."""

ATTRIBUTE_LEXICON_VERSION = 1
LONG = 20  # characters; a phrase of exactly this length is short

COLOURS = (
    "red green blue yellow orange purple pink brown black white gray grey silver gold golden beige tan teal "
    "turquoise maroon navy blond blonde brunette dark light bright colored colorful"
)
SIZES = (
    "big bigger biggest small smaller smallest large larger largest little tall taller tallest short shorter "
    "shortest long longer longest huge tiny tinier tiniest giant medium thin thinner thinnest thick thicker thickest "
    "skinny skinnier skinniest fat fatter fattest wide wider widest narrow narrower narrowest"
)
SHAPES = "round square rectangular triangular curved oval flat pointy"
PATTERNS = "striped stripes stripy plaid checkered spotted dotted plain floral camo patterned"
MATERIALS = "wooden wood metal metallic glass plastic leather brick stone concrete wicker denim furry fuzzy"
STATES = (
    "young old older younger elderly bald bearded open closed empty full broken wet dry blurry bitten cut sliced "
    "dirty clean shiny cropped standing sitting seated holding wearing walking running riding jumping leaning lying "
    "looking facing eating drinking kneeling crouching bending sleeping smiling"
)
CLOTHING = "shirt hat jacket dress coat shorts pants jeans tie suit glasses helmet cap hoodie sweater vest skirt scarf"
ATTRIBUTES = frozenset(" ".join((COLOURS, SIZES, SHAPES, PATTERNS, MATERIALS, STATES, CLOTHING)).split())


def difficulty(text: str) -> str:
    """Group of a normalised phrase: simple, attribute, attribute_long or long_plain."""
    has_attribute = any(word in ATTRIBUTES for word in text.split())
    if len(text) <= LONG:
        return "attribute" if has_attribute else "simple"
    return "attribute_long" if has_attribute else "long_plain"
