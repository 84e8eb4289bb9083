"""Messages of SNS and events of EventBridge."""
