"""The programs behind the commands, one readable module each."""
