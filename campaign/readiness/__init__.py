"""Whether a model and data are what somebody thinks they are, looked at before a campaign."""
