"""A simulation of the service under its scaling policy; ``python -m docs.simulation`` prints docs/scaling.md's tables.

``workload`` makes jobs, ``model`` lets them pass through queue, tasks and scaling, ``prices`` says what it costs,
``report`` holds the scenarios and prints. Standard library only, seeded: the same tables on every run.
"""
