"""S3 as the engine sees it: objects that are read, and the multipart upload that is written."""
