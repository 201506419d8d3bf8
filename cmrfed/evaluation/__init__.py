"""What synthetic images are worth, and what they give away: scores of a subject, which is real patients and what one or
more generators drew for them, wherever they come from.

`subject` says what is measured; fidelity, utility and leakage each turn it into scores by arm, by metrics that know
arrays alone; `scores` runs what is configured; `schema` has the classes of all results.
"""
