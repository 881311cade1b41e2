"""How large what is read may be: a file of some kilobytes can claim any number."""

MOST_PIXELS = 2**24
"""Of a slice: 4096 x 4096."""
MOST_VOXELS = 2**27
"""Of a scan: 512 x 512 x 512; the contest's have 2**24."""
