"""What the agent can do on its machine: one file a family."""
