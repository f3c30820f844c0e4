"""The tests of the builder and of the agent."""
