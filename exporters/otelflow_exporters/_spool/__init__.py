"""The spool: spans that wait in files until they have arrived."""
