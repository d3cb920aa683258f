"""How much of a recording may be missing before it is refused.

It is a module of its own because the decoding child, which must start fast, imports it too.
"""

TOLERANCE_S = 0.1
