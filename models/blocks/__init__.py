"""Parts that several methods share; the methods themselves are one file each, beside this folder."""
