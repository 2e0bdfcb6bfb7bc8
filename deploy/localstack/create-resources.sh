#!/usr/bin/env bash
# Run by LocalStack when it is ready: two buckets, a sample picture, two queues with their dead-letter queues, and the
# crew's queue, whose chunks live for hours and are never dead letters.
set -euo pipefail

for bucket in source-images zip-storage; do
    awslocal s3api create-bucket --bucket "$bucket" >/dev/null
done
awslocal s3api put-object --bucket source-images --key source.jpg --content-type image/jpeg \
    --body "${SOURCE_JPG:-/opt/archiver/source.jpg}" >/dev/null

for queue in input-queue output-queue; do
    dlq_url=$(awslocal sqs create-queue --queue-name "$queue-dlq" --query QueueUrl --output text)
    dlq_arn=$(awslocal sqs get-queue-attributes --queue-url "$dlq_url" --attribute-names QueueArn \
        --query Attributes.QueueArn --output text)
    awslocal sqs create-queue --queue-name "$queue" --attributes \
        "{\"RedrivePolicy\": \"{\\\"deadLetterTargetArn\\\": \\\"$dlq_arn\\\", \\\"maxReceiveCount\\\": \\\"50\\\"}\"}" >/dev/null
done
awslocal sqs create-queue --queue-name crew-queue --attributes MessageRetentionPeriod=14400 >/dev/null
