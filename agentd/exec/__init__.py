"""The broker: does as root what takes root, a fixed table of verbs, and only with a signed approval."""
