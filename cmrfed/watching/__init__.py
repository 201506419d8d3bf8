"""What people see of a federation while it runs, each from the files that are written anyway.

federation  a coordinator's view: sites, rounds, who answered, epsilon, bytes; by no means but what the server knows
hospital    a data-protection officer's view of one home: what was asked, answered and spent, and what waits
web         both as pages of one look, on loopback: who may see one, and what a press of a button needs

Reading changes nothing. What is missing or half written is 'not yet': a run that starts, or one that was cut short.
"""
