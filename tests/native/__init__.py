"""Tests that run the real model on this host."""
