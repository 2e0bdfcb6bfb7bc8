"""S3 and SQS: botocore for what is rare, libcurl for what is asked thousands of times. No Celery.

clients       the one way to a client: region, timeouts, retries
objects       the sources' side of S3; requests: one GET or HEAD; listing, listings: pages, and that they go forward
http          requests on the native way: signing, endpoints, transfers by libcurl, one policy of retries
multipart     the archive's side of S3; copies, completion: how each of these is asked for and answered
elements      the XML that S3 answers with
throttle      fewer requests at once after S3 says to slow down
failures      what S3's refusals mean for the job: one table
links         the link to the archive
queues        the one way to a queue; letters: a message as it was received
dead_letters  a message and its reason, to the dead-letter queue
notify        the notification, to the consumer's queue; topics: to an SNS topic; consumer: the other side of the queue
payloads      payloads that a pointer leads to, written; payload_reading: read as S3 has them
status        status objects, and the wish to cancel; board: what one process writes there
hand_backs    how often a message was given back unfinished
checkpoints   how far deflating has come, kept for a later attempt
sweep         unfinished uploads that nobody will finish
"""
