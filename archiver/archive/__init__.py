"""From a payload to an archive. No SDK, no broker, no socket: all that is outside stands behind ``storage``.

document      JSON as it comes in and goes out: one set of rules, and the text that came
request       the payload, validated into frozen values; unknown, spelling: keys that it does not have
location, key where a source lies; the archive's key
files         an element of ``files``; manifests, manifest_rows: objects that list files; patterns: include and exclude
pointer       a payload that lies in S3
destination   where an archive goes; split, portions: several in place of one
access        the buckets and keys that a payload may name
resolve       what the storage has of the sources; looks: one by one; prefixes, listings: many by the page
plan          layout -> parts, within S3's limits (pure)
blueprint     what the archive will be, before a byte moves (pure)
deflate       the entries that shrink, written first; deflate_writer: their parts
checkpoint    how far deflating has come, for a later attempt (pure); checkpoints: when one is written
parts         runs a plan: copies and literal parts, in parallel, in bounded memory
checksums     what is known of each entry's CRC32 while parts are under way
upload        the multipart upload: begun, resumed, completed, aborted
build         one archive of one resolution; cancellation: the wish that a job ends, as its threads hear of it
record        what the archive's object says of itself
notification  the message to the consumer; status: how far a job is, beside its archive
job, result   a request on its way, and what it has come to; missing: the list in the archive
pipeline      the whole story
storage       the ports, their values and what can go wrong there
columns       many texts in little memory; location_table, source_table: locations and objects
parallel, memory, traffic: threads, the bytes of parts, what it moved
progress, pace: how far a build is, and log lines of what takes long
arrivals      entries that are complete, as parts arrive
"""
