"""Closed classes of English words, at which an expression can be cut or which say nothing by themselves."""

from deixis.language.location_words import BACK, FRONT, MIDDLE, ORDINALS, SIDES

DETERMINERS = frozenset("a an the this these those some any each his her its their my your our".split())
PREPOSITIONS = frozenset(
    "about above across against along around at behind below beneath beside between by facing from in inside into "
    "near off on onto opposite outside over past through to toward towards under underneath with without".split()
)
RELATIVISERS = frozenset("that which who whose whom where".split())
COPULAS = frozenset("is are was were being".split())
VERBS = COPULAS | frozenset(
    "has have had holds wears sits stands catches rides walks looks eats lies leans runs plays hits throws swings "
    "jumps faces carries drinks reads touches watches waits points reaches".split()
)
NOUNS_IN_ING = frozenset(
    "awning bowling building ceiling clothing dining dressing earring evening everything frosting icing lighting "
    "morning nothing opening painting parking pudding railing siding something spring string swing topping wedding "
    "anything".split()
)
TAKE_AN_OBJECT = frozenset("carrying eating having holding riding using wearing".split())
PLACES = frozenset(
    (*SIDES, *MIDDLE, *FRONT, *BACK, *ORDINALS, *"far side corner edge half row most very higher up down".split())
)
BEFORE_TO = frozenset("next close closer closest nearest".split())  # "next to" is one preposition, a "next man" is none
END_OF_NOUN = frozenset("of from than".split())  # where these stand in a head phrase, another object may follow
