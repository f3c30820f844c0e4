"""From a sentence to the tool that it asks for, or to talk."""
