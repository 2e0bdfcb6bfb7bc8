"""S3 and SQS through boto3. No Celery.

clients       the one way to a client: region, timeouts, retries
objects       the sources' side of S3; lean: its plain GET and HEAD for less CPU
multipart     the archive's side of S3
throttle      fewer requests at once after S3 says to slow down
failures      what a failed S3 call means for the job
links         the link to the archive
queues        the one way to a queue; letters: a message as it was received
dead_letters  a message and its reason, to the dead-letter queue
notify        the notification, to the consumer's queue
sweep         unfinished uploads that nobody will finish
"""
