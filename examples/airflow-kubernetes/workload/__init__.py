"""What runs on the cluster: digits are split and normalised, a small network is trained, and its accuracy is judged.

Plain Python on scikit-learn and fsspec; it knows nothing of the orchestrator. `tasks/*.yaml` start one step each.
"""
