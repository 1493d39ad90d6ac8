"""The version of this program, as a literal: reading it must cost no import."""

__version__ = "4.0.0"
