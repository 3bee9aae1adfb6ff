"""What outlives the process: the outbox, the journal and the retained state, in SQLite."""
