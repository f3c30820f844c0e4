"""What a machine is: the report, and the probe that writes it. Standard library alone.

Both halves use it: the builder on a person's computer, agentd inside the image. It imports neither.
"""
