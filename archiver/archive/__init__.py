"""From a resolution to an archive in S3: deflate what shrinks, plan the parts, run them in parallel, complete."""
