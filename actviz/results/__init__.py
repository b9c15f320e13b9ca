"""What a run leaves behind: file names and the overwrite rule, PNG files, provenance, manifest, reports for CI."""
