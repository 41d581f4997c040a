"""Forward passes, shard by shard."""
