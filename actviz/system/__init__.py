"""Every call that touches a file or a process, so that faults can be injected in one place."""
