"""What a campaign found, read back from its folder as plain values."""
