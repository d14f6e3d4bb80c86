"""Every operator, in one place to import from."""

from sky_orchestrate.airflow.cluster_operators import SkyDownOperator, SkyExecOperator, SkyLaunchOperator
from sky_orchestrate.airflow.reaping import SkyReapOperator
from sky_orchestrate.airflow.task_operator import SkyTaskOperator
from sky_orchestrate.airflow.transfer_operators import SkyRsyncDownOperator, SkyRsyncUpOperator, SkySSHOperator

__all__ = [
    "SkyDownOperator",
    "SkyExecOperator",
    "SkyLaunchOperator",
    "SkyReapOperator",
    "SkyRsyncDownOperator",
    "SkyRsyncUpOperator",
    "SkySSHOperator",
    "SkyTaskOperator",
]
