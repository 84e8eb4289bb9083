"""Events of EventBridge about the resources of SageMaker."""
