"""The project on Kubernetes: a cluster on this machine, what a cluster's admin does once, and deploying."""
