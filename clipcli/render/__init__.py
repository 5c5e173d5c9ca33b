"""Everything a person or a script gets to see: results on stdout, all else on stderr. Nothing else prints."""
