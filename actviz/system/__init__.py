"""Calls of the operating system: files, folders, processes, pipes and limits; tests inject faults here."""
