"""What happens on the machine: events from its many sources, notices made of them, and what was missed."""
