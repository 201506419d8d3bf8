"""What a machine is measured with, each file a program: `python -m benchmarks.NAME`. Run from a clone."""
