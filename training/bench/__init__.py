"""`ssvd bench methods`: which runs the study needs, the runs, and the tables and figures of their results.

Imports `loop` and what lies below it.
"""
