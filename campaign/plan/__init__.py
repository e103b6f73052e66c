"""What a campaign does: its settings, and the units of work that follow from them."""
