"""A registered version behind a KServe endpoint, and back to the one before where it fails."""

from yololine.deployment.deploying import deploy
from yololine.deployment.preflight import check
from yololine.deployment.request import DeployOutcome, DeployRequest, RecordedRequest
from yololine.deployment.rolling_back import Target, rollback, rollback_target
from yololine.deployment.shadow import ShadowReport

__all__ = [
    "DeployOutcome",
    "DeployRequest",
    "RecordedRequest",
    "ShadowReport",
    "Target",
    "check",
    "deploy",
    "rollback",
    "rollback_target",
]
