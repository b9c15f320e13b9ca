"""The version of actviz, in one place."""

VERSION = "0.1.0"
