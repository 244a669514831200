"""What the speed claims rest on: each job beside a peer that does the same job in the same run.

    make bench                                  the whole table, about ten minutes
    python -m benchmarks --quick                a smoke run at a twentieth of the size; its figures mean nothing
    python -m benchmarks --only evidence        one part: events or evidence
    python -m benchmarks --json results.json    the table, and every single measurement in a file

Ours and the peer take turns, so that what else the machine does falls on both. ``ratio`` is the median over the turns
of peer ÷ ours: above 1, ours is faster (or smaller). Times include everything from the input to the finished files.
Nothing of a machine is kept here; processors and versions stand at the top of the output.
"""
