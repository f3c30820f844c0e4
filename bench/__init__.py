"""The benchmark behind `make bench`: a machine beside the image that a user would otherwise make."""
