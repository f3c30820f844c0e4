"""What the agent knows: the vault, the index over it and over all that was said, and finding in both."""
