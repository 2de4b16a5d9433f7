"""Where traces lie on this machine: the local store."""
