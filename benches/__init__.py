"""What a machine is measured with, each file a program: `python -m benches.NAME`. Run from a clone.

The name is not `benchmarks` because Opacus installs a top-level package of that name, which an editable clone's own
would lose to.
"""
