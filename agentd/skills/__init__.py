"""Skills and slash commands: texts in the vault that a person uses by their names."""
