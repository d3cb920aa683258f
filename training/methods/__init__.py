"""What trains, by method: its parameters, how it is built, and how its result is written and scored.

Imports `corpus`, `training.evaluate`, `training.run_settings` and what lies below them.
"""
