"""The local SkyPilot: a real API server on a real one-node Slurm whose GPUs are pretended, all of it in `.local/`.

    python -m local up       start what is not running; returns at once when all is well
    python -m local down     stop and remove every process and file of it

It runs as the caller, without root. `place` says where things lie, `machine` what this machine must have, `slurm`, `login`
and `server` are the three parts in the order they start, and `processes` knows which processes are ours.
"""
