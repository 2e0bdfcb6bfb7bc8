"""Flower's configuration, which it reads in its working directory; its command line wins. There is no logic here."""

from archiver import flower

flower.prepare()

# Workers answer over SNS and SQS, so that an inspection takes seconds where Flower's default is one; in milliseconds.
inspect_timeout = 10_000.0

tasks_columns = "uuid,state,received,args,retries,runtime,result,exception,worker"
format_task = flower.describe
