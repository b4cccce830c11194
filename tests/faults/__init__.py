"""Crashes, lost answers and lying watches between the operator and a real API server, and an oracle that watches from outside.

    python -m tests.faults            everything
    python -m tests.faults --sample   what `make test` runs
    python -m tests.faults --cases 600 --write docs/faults.md
                                      so many, spread evenly, and a page that tells of them

    scenario ──> admin ──────────────┐
    operator ──> gate (faults) ──────┼──> kube-apiserver ──> observer ──> history ──> oracle
    (fork of zygote.py)   script.py ─┘

One trial is one scenario with at most one fault, in a namespace of its own, with its own operator (or two) behind its own gate.
"""
